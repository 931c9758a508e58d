"""What a round comes to: attestations, and the settlement that follows from them."""
