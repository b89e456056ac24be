"""Whether a scenario holds: what it breaks, and by which words."""

from __future__ import annotations

import traceback

from attrs import frozen

from tests.promises import BrokenPromise
from tests.simulator.execution import perform
from tests.simulator.invariants import check
from tests.simulator.observed import Observed
from tests.simulator.scenario import Scenario

NOTHING_ELSE = "nothing else goes wrong"
"""The name under which any error is told that no caller should ever see."""


@frozen
class Breach:
    """What went wrong in a world."""

    promise: str
    what: str
    error: str = ""  #: the class of an error that no caller should see

    def is_like(self, other: Breach) -> bool:
        """Whether both are of the same kind."""
        return (self.promise, self.error) == (other.promise, other.error)


@frozen
class Verdict:
    """What became of a scenario."""

    observed: Observed | None  #: None: it did not come to its end
    breach: Breach | None  #: None: it holds


def judge(scenario: Scenario) -> Verdict:
    """Perform a scenario, and hold it to the invariants."""
    observed: Observed | None = None
    try:
        observed = perform(scenario)
        check(observed)
    except BrokenPromise as broken:
        return Verdict(observed, Breach(broken.promise, str(broken)))
    except Exception as error:
        told = "".join(traceback.format_exception(error))
        return Verdict(observed, Breach(NOTHING_ELSE, told, type(error).__name__))
    return Verdict(observed, None)
