"""How a process becomes the owner of a run that another has left."""

from __future__ import annotations

from functools import partial

from actorflow.errors import SurvivorsError
from actorflow.journal.protocol import Journal, RunRow
from actorflow.survivors import end_survivors


def claim(journal: Journal, run_id: str, *, take_over: bool = False) -> RunRow:
    """Become the owner of a run, once no process of its owner before is left; see `Journal.claim`.

    Blocks for as long as these take to end, some seconds at most.

    Raises:
        SurvivorsError: there are some that do not end.
    """
    return journal.claim(run_id, take_over=take_over, end_survivors=partial(_end_all, run_id))


def _end_all(run_id: str, cookie_prefix: str) -> None:
    left = end_survivors(cookie_prefix)
    if left:
        raise SurvivorsError(run_id, left)
