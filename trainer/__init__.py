"""A trainer's working life: join, train and record, commit, reveal, answer the challenge, claim."""
