"""What copies, noise and many names earn."""
