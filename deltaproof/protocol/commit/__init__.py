"""Commitments and signatures: sealed values, BLS keys, the secret that salts derive from, validation sets."""
