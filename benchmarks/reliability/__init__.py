"""Faults of every kind, injected into running roles, and what they cost: `python -m benchmarks.reliability`."""
