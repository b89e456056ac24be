"""Actors on asyncio and trio: mailboxes, pooled runners, one alarm, restarts within an intensity."""
