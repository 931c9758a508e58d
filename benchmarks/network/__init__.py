"""What strangers pay for sharing a store: gateway and sealed openings."""
