"""Learned control of a federation against fixed policies."""
