"""Attacks on training, scores, store and chain: how often each is caught."""
