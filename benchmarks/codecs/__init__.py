"""How many bytes a delta needs, and what that costs."""
