"""What becomes of attempts, for agents of tests."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from actorflow.testing.agents import Fails, Hangs, Returns
from actorflow.testing.strategies.drawing import FAILURE_TYPES, values

__all__ = ["outcomes"]

_SECONDS: Final = st.sampled_from([0.0, 0.5, 1.0, 10.0, 120.0])


def outcomes(*, can_hang: bool = False) -> st.SearchStrategy[Returns | Fails | Hangs]:
    """Draw steps for a `ScriptedAgent`: an output or a failure, at once or after a while.

    Args:
        can_hang: whether an attempt may never end by itself. A task whose attempts may needs a timeout or a deadline, or
            its run ends only when somebody cancels it.
    """
    ended: st.SearchStrategy[Returns | Fails] = st.builds(Returns, values(), _SECONDS) | st.builds(
        Fails,
        message=st.sampled_from(["", "no luck"]),
        type=st.sampled_from(FAILURE_TYPES),
        after_s=_SECONDS,
        retry_after_s=st.sampled_from([None, 3.0]),
    )
    return ended | st.builds(Hangs, ignores_cancel_s=_SECONDS) if can_hang else ended
