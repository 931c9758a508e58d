"""What every long-running role shares: a loop that follows blocks, patience with outages, heavy work beside it."""
