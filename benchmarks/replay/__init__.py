"""What replay costs, and whether honest work ever fails it."""
