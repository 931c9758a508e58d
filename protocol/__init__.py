"""The shared vocabulary: task spec, commitments, verdicts, settlements, keys, store and chain gateway.

Imports nothing of the other packages. `docs/protocol.md` is the specification this package implements.
"""
