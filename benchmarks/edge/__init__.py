"""The memory of a whole trainer."""
