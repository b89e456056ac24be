"""`actorflow hooks` and what other commands show of hooks."""
