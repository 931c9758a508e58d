"""The machine-learning substrate: models, data, PEFT methods, the one training-step function, aggregation.

Trainer, verifier and auditor run the same code on the same spec.
"""
