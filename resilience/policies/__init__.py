"""The policies: one kit each, in a file of its own, and the order they stand in."""
