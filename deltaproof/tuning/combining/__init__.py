"""Many deltas made one: fetched, aggregated, mixed into a model, and evaluated on held-out rows."""
