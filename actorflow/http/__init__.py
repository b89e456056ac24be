"""Requests that hooks and agents make: one client for each runtime."""

from __future__ import annotations
