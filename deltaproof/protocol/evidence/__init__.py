"""What a trainer commits its work by: rows, states, step records, the transcript, the encoded delta."""
