"""One typed client for each contract, the gateway that holds them all, and their deployment."""
