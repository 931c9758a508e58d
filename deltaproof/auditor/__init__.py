"""Read-only: index the chain, check every link of every round again, explain, export, report.

Nobody here needs a key, and nothing a participant says is believed: chain facts come from events and calldata,
everything else is recomputed from the spec and the artifacts.
"""
