"""Hooks: blocking ones that the core waits for, and async ones that the journal owes."""
