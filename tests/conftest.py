"""What every test shares: both back ends, and examples that are the same in each run.

A default run says whether a change is good, so it draws the same examples each time; a search for what nobody thought of
is a run of its own, with new examples each time: `ACTORFLOW_FUZZ=10 pytest` draws ten times as many of them.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

PATIENT = [HealthCheck.too_slow]  # the machine may be busy with something else
settings.register_profile("repeatable", derandomize=True, suppress_health_check=PATIENT)
settings.register_profile("search", print_blob=True, suppress_health_check=PATIENT)
settings.load_profile("search" if "ACTORFLOW_FUZZ" in os.environ else "repeatable")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every async test runs on both."""
    return request.param
