"""Who performs attempts: Python callables, commands, and three built-in words; one attempt at a time."""
