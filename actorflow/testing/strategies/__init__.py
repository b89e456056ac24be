"""Hypothesis strategies for what a test of workflows needs: definitions, inputs, histories of runs, and what agents do.

```python
from hypothesis import given

from actorflow.testing.strategies import History, definitions, histories


@given(histories(definitions(max_tasks=3)))
def test_the_report_has_every_task(history: History) -> None:
    assert set(report(history.events)) == {task.id for task in history.spec.tasks}
```

All that is drawn is valid. Simple examples come first, and a failing one shrinks: a definition to one task with an agent, a
history to as few events as fail.
"""

from importlib.util import find_spec

if find_spec("hypothesis") is None:
    message = "actorflow.testing.strategies needs hypothesis: pip install 'actorflow[testing]'"
    raise ImportError(message, name="hypothesis")

from actorflow.testing.strategies.documents import definitions, documents
from actorflow.testing.strategies.features import EVERY_FEATURE, FEATURES, Feature
from actorflow.testing.strategies.histories import History, histories
from actorflow.testing.strategies.inputs import inputs_for
from actorflow.testing.strategies.outcomes import outcomes

__all__ = [
    "EVERY_FEATURE",
    "FEATURES",
    "Feature",
    "History",
    "definitions",
    "documents",
    "histories",
    "inputs_for",
    "outcomes",
]
