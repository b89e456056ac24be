"""The runtime: actors that carry out what the core decides, and commit before they act."""
