"""All mutants, by their names, in the order in which they are let loose."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Final

from tests.mutants.core import CORE
from tests.mutants.deliveries import DELIVERIES
from tests.mutants.hooks import HOOKS
from tests.mutants.journal import JOURNAL
from tests.mutants.mutant import Hunt, Mutant
from tests.mutants.recovery import RECOVERY
from tests.mutants.resumes import RESUMES
from tests.mutants.runs import RUNS
from tests.mutants.store import STORE
from tests.mutants.worlds import WORLDS

_PARTS: Final = (CORE, RECOVERY, HOOKS, RESUMES, STORE, JOURNAL, DELIVERIES, RUNS, WORLDS)

MUTANTS: Final[Mapping[str, Mutant]] = dict(chain.from_iterable(part.items() for part in _PARTS))


def hunts() -> Mapping[str, Hunt]:
    """Each hunt once, under the name of the first mutant that it is for."""
    named: dict[Hunt, str] = {}
    for name, mutant in MUTANTS.items():
        named.setdefault(mutant.hunt, name)
    return {name: hunt for hunt, name in named.items()}
