"""Looking after a SQLite store: examined, rebuilt from its events, and saved what holds where it is damaged."""
