"""Tuning on emulators: speed, memory, traffic, and what an emulator gives away."""
