"""Brings trainers' commitments, reveals and claims to the chain, and pays the gas: `deltaproof relay run`."""
