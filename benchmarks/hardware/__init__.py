"""What devices, modes and models of growing size cost, in seconds and in memory: `docs/results/hardware.md`."""
