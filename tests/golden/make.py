"""Makes a golden store: `python tests/golden/make.py tests/golden/NAME.db`.

Made once, when a change of the format is released, and never again: every later version must open it, show its runs and
go on with those that are not done.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from actorflow import Runtime, load_dict
from actorflow.spec.model import WorkflowSpec

FOLDER = "/tmp"


def _workflow(name: str, tasks: dict, **more: object) -> WorkflowSpec:
    return load_dict({"name": name, "tasks": tasks, **more}, trust="own", folder=FOLDER)


async def make(path: Path) -> None:
    """A run that succeeded, one that failed, one that is paused with a hook owed, and one that crashed in flight."""
    store = f"sqlite:///{path}"
    chain = {
        "a": {"agent": "x", "with": {"n": "{{ input.n }}", "text": "ünïcödé ✓"}},
        "b": {"agent": "x", "with": {"before": "{{ tasks.a.output.input.n }}"}, "depends_on": ["a"]},
    }
    async with Runtime(store=store, agents={"x": "echo"}) as rt:
        spec = _workflow("golden success", chain, outputs={"n": "{{ tasks.b.output.input.before }}"})
        await rt.run(spec, inputs={"n": 7}, run_id="success")
    async with Runtime(store=store, agents={"x": "echo", "y": "fail"}) as rt:
        tasks = {
            **chain,
            "c": {"agent": "y", "depends_on": ["b"], "retry": {"max_attempts": 2, "delay": 0.001}},
        }
        hooks = {"on_error": ["true"], "post_workflow": ["false"]}
        await rt.run(_workflow("golden failure", tasks, hooks=hooks), inputs={"n": 8}, run_id="failed")
    async with Runtime(store=store, agents={"x": "echo", "s": "sleep:1h"}, grace_s=0) as rt:
        tasks = {**chain, "c": {"agent": "s", "depends_on": ["b"]}}
        steps = [{"stage": "one", "tasks": ["a", "b"]}, {"stage": "two", "tasks": ["c"]}]
        hooks = {"on_stage_complete": ["true"]}
        entry = {"w": {"steps": steps, "hooks": hooks}}
        handle = await rt.start(
            _workflow("golden pause", tasks, workflows=entry), inputs={"n": 9}, run_id="paused"
        )
        async for _, event in handle.events():
            if getattr(event, "task", "") == "c":
                break


if __name__ == "__main__":
    anyio.run(make, Path(sys.argv[1]).resolve())
