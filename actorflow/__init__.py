"""An embedded, durable workflow runtime: a pure core decides, actors act, a journal remembers.

```python
from actorflow import Runtime, load

async with Runtime(store="sqlite:///runs.db", agents={"charge": charge}) as rt:
    result = await rt.run(load("order.yaml"), inputs={"order_id": "42"})
```
"""

from actorflow.agents.call import AgentCall
from actorflow.core.hook_config import HookConfig
from actorflow.core.hook_context import HookContext
from actorflow.core.lifecycle import lifecycle_name
from actorflow.core.strategy import Abort, ErrorRecovery, Fallback, RecoveryStrategy, Retry, Skip
from actorflow.errors import (
    ActorflowError,
    BadInputError,
    BindError,
    ExpressionError,
    IllegalTransitionError,
    MissingVariablesError,
    Problem,
    RunExistsError,
    RunFailedError,
    RunNotFoundError,
    RunOwnedElsewhereError,
    SpecError,
    StoreDamagedError,
    StoreFailed,
    StoreUnusableError,
    UnboundAgentsError,
)
from actorflow.hooks.executor import HookExecutor
from actorflow.hooks.registry import HookRegistry
from actorflow.runtime.handle import RunHandle
from actorflow.runtime.persistence import StatePersistence
from actorflow.runtime.result import HookCounts, RunResult, TaskResult
from actorflow.runtime.runtime import Runtime
from actorflow.runtime.workflow_state import WorkflowState, WorkflowStatus
from actorflow.spec import WorkflowSpec, load, load_dict, loads

__all__ = [
    "Abort",
    "ActorflowError",
    "AgentCall",
    "BadInputError",
    "BindError",
    "ErrorRecovery",
    "ExpressionError",
    "Fallback",
    "HookConfig",
    "HookContext",
    "HookCounts",
    "HookExecutor",
    "HookRegistry",
    "IllegalTransitionError",
    "MissingVariablesError",
    "Problem",
    "RecoveryStrategy",
    "Retry",
    "RunExistsError",
    "RunFailedError",
    "RunHandle",
    "RunNotFoundError",
    "RunOwnedElsewhereError",
    "RunResult",
    "Runtime",
    "Skip",
    "SpecError",
    "StatePersistence",
    "StoreDamagedError",
    "StoreFailed",
    "StoreUnusableError",
    "TaskResult",
    "UnboundAgentsError",
    "WorkflowSpec",
    "WorkflowState",
    "WorkflowStatus",
    "lifecycle_name",
    "load",
    "load_dict",
    "loads",
]

__version__ = "0.1.0"
