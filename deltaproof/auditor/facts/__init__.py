"""What chain and store say about rounds, as plain objects that nobody has judged yet."""
