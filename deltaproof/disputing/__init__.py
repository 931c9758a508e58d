"""Disputes as duties of running roles: answering demands, proving what a contract can decide, voting on the rest."""
