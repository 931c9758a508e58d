"""The audit: one check per link of the chain from spec to pay, each pass, fail or not checkable (and why)."""
