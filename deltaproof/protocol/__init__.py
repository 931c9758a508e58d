"""The shared vocabulary: terms, commitments, draws, evidence, outcomes, and how each is encoded.

Imports nothing of ours but the errors. `docs/protocol.md` is the specification that this package implements; `rules`
holds its numbers.
"""
