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

THOROUGH = 20
"""Of so many seeds one is looked at for secrets as well."""


@frozen
class Breach:
    """What went wrong in a world."""

    promise: str
    what: str


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
        check(observed, thoroughly=not scenario.seed % THOROUGH)
    except BrokenPromise as broken:
        return Verdict(observed, Breach(broken.promise, str(broken)))
    except Exception as error:
        return Verdict(observed, Breach(NOTHING_ELSE, "".join(traceback.format_exception(error))))
    return Verdict(observed, None)
