"""The chain's events in a database, and the facts of a task that follow from them."""
