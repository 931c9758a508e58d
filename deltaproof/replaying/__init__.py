"""Judging committed work: a step replayed and compared, drift over samples, pools of workers, what sampling promises.

Trainers need nothing of it; verifiers and auditors judge by the same code.
"""
