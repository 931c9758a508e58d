"""What rounds of many trainers cost: a trainer, a verifier, an auditor, the chain."""
