"""What a delta is worth and what it is paid: value functions, semivalues, similarity, payout rules."""
