"""What hooks can do: one module for each kind of action, and what they all share."""
