"""The surface of the format: one class for each kind of mapping in a workflow file, its fields the mapping's keys.

No object of these classes is ever made: they are what there is to know about the keys, in one place, and `schema.py`
walks them into a JSON Schema. What the values mean once they are read is in `model.py`, whose closed words are the
choices here. A field's trailing underscore is not part of its key (`with_`).

The loader has tables of its own (`words.py`), because to make these classes takes longer than to load a file. A test
holds the two together, key by key.
"""

from actorflow.spec.surface.agents import Agent
from actorflow.spec.surface.document import Entry, Input, OneTask, Stage, WorkflowFile
from actorflow.spec.surface.forms import keys_of, types_of
from actorflow.spec.surface.hooks import PARAMS_OF, Hook
from actorflow.spec.surface.tasks import ListedTask, Task

__all__ = [
    "PARAMS_OF",
    "Agent",
    "Entry",
    "Hook",
    "Input",
    "ListedTask",
    "OneTask",
    "Stage",
    "Task",
    "WorkflowFile",
    "keys_of",
    "types_of",
]
