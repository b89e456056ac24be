"""Hooks: actions on lifecycle events. The run waits for blocking ones; async ones are what the journal owes.

Register an action of your own with `hook_action`:

```python
@hook_action("page", params=PageParams)
async def page(context: HookContext, params: PageParams) -> None: ...
```
"""

from actorflow.core.hook_context import HookContext
from actorflow.hooks.registry import HookRegistry, hook_action

__all__ = ["HookContext", "HookRegistry", "hook_action"]
