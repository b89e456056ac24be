"""What the parts of a definition say of each other: order, stages, and what templates may read."""
