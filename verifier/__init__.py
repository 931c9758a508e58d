"""A verifier's working life: draw samples, replay, judge, score, attest, settle, dispute."""
