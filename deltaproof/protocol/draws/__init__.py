"""What chance decides, from seeds on chain: the batch order and the steps that all verifiers replay."""
