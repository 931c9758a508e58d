"""What every call costs, beside what it cost before the contracts of version 2."""
