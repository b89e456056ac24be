"""Where requests may go: which URLs are taken, what the lists allow, and which addresses are dialled. No I/O."""

from __future__ import annotations
