"""Fixtures for pytest: `pytest_plugins = ["actorflow.testing.plugin"]` in a conftest.py, or `-p actorflow.testing.plugin`.

- `actorflow_seed`: what simulations of the test are to be seeded with. A test that takes it runs once, with seed 0;
  `--actorflow-seeds 20` has it run with twenty, `--actorflow-seed 7` with that one alone.
- `actorflow_world`: a `World` of that seed, removed at the end of the test.
- `actorflow_simulate`: `simulate` with that seed.
- `actorflow_recorder`: a `HookRecorder`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial

try:
    import pytest
except ImportError as error:
    raise ImportError("the fixtures of actorflow need pytest: pip install pytest") from error

from actorflow.testing.recorder import HookRecorder
from actorflow.testing.simulation import Simulated, simulate
from actorflow.testing.world import World

__all__ = ["actorflow_recorder", "actorflow_seed", "actorflow_simulate", "actorflow_world"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the seeds."""
    group = parser.getgroup("actorflow")
    group.addoption(
        "--actorflow-seeds", type=int, default=1, help="how many seeds each simulated test runs with"
    )
    group.addoption(
        "--actorflow-seed", type=int, default=None, help="the one seed that simulated tests run with"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each seed; its name says which, so that a failure can be repeated."""
    if "actorflow_seed" in metafunc.fixturenames:
        one, count = (metafunc.config.getoption(f"--actorflow-{name}") for name in ("seed", "seeds"))
        seeds: Sequence[int] = range(int(str(count))) if one is None else [int(str(one))]
        metafunc.parametrize("actorflow_seed", seeds, ids=[f"seed {seed}" for seed in seeds], indirect=True)


@pytest.fixture
def actorflow_seed(request: pytest.FixtureRequest) -> int:
    """What simulations of the test are seeded with."""
    return int(getattr(request, "param", 0))


@pytest.fixture
def actorflow_world(actorflow_seed: int) -> Generator[World]:
    """A world of the test's seed."""
    with World(seed=actorflow_seed) as world:
        yield world


@pytest.fixture
def actorflow_simulate(actorflow_seed: int) -> Callable[..., Simulated]:
    """`simulate`, with the test's seed."""
    return partial(simulate, seed=actorflow_seed)


@pytest.fixture
def actorflow_recorder() -> HookRecorder:
    """A hook that keeps what it is told."""
    return HookRecorder()
