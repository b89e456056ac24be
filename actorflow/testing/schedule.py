"""A schedule that a seed repeats: in which order tasks that could all go on do so."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

__all__ = ["seeded_schedule"]


@contextmanager
def seeded_schedule(seed: object) -> Generator[None]:
    """For a while, trio puts tasks that are ready in an order that follows from the seed alone.

    Trio shuffles them anyway, so that no program relies on an order; this is how its users repeat a shuffle, under
    hypothesis too. It holds for all of the process, so for one `trio.run` at a time.

    Raises:
        RuntimeError: this version of trio has no such switch.
    """
    switches = cast("Any", import_module("trio._core._run"))
    if not hasattr(switches, "_ALLOW_DETERMINISTIC_SCHEDULING") or not hasattr(switches, "_r"):
        raise RuntimeError("this version of trio cannot repeat a schedule; simulations need another one")
    was_allowed, before = switches._ALLOW_DETERMINISTIC_SCHEDULING, switches._r.getstate()  # noqa: SLF001
    switches._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001
    switches._r.seed(str(seed))  # noqa: SLF001
    try:
        yield
    finally:
        switches._ALLOW_DETERMINISTIC_SCHEDULING = was_allowed  # noqa: SLF001
        switches._r.setstate(before)  # noqa: SLF001
