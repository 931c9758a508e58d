"""What several benchmarks use: places, tasks, rounds."""
