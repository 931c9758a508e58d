"""The demo: the commands that anyone would use, as separate processes, on a private chain."""
