"""Adaptive control of a federation: simulated device traces, frozen policies, and the check that a decision is theirs.

Everything here has the same bits on every machine, because auditors compute it again.
"""
