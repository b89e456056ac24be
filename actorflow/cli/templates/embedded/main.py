"""actorflow inside a program: `python main.py` pays three invoices, however often it is killed on the way.

Each run has a name of its own, so starting the program again goes on where it stopped, and pays nothing twice. For trio,
say `anyio.run(main, backend="trio")`.
"""

from __future__ import annotations

import os

import anyio

from actorflow import AgentCall, HookContext, Runtime, load_dict
from actorflow.errors import RunExistsError

INVOICE = load_dict(
    {
        "name": "invoice",
        "inputs": {"amount": {"type": "number", "required": True}},
        "tasks": {
            "charge": {
                "agent": "charge",
                "with": {"amount": "{{ input.amount }}"},
                "timeout": "30s",
                "retry": {"max_attempts": 4, "delay": "200ms"},
            },
            "receipt": {
                "agent": "receipt",
                "with": {"paid": "{{ tasks.charge.output.paid }}"},
                "depends_on": ["charge"],
            },
        },
        "outputs": {"receipt": "{{ tasks.receipt.output }}"},
    }
)


async def charge(call: AgentCall) -> dict[str, str]:
    """Hand the key to the payment service: it is the same on every attempt, after a crash too."""
    await anyio.sleep(float(os.environ.get("PAUSE", "0.2")))
    if call.attempt == 1:
        raise ConnectionError("the payment service hung up")
    return {"paid": f"{call.input['amount']:.2f} ({call.idempotency_key})"}


def receipt(call: AgentCall) -> str:
    """A plain function: it runs in a thread."""
    return f"thank you for {call.input['paid']}"


async def main() -> None:
    """Start what is new, and go on with what is not done."""
    agents = {"charge": charge, "receipt": receipt}
    async with Runtime(store="sqlite:///runs.db", agents=agents) as rt:

        @rt.on("task_finished")
        async def tell(context: HookContext) -> None:
            task = context.task or {}
            print(f"{context.run_id}: {task.get('id')} {task.get('status')}")

        for number in (1, 2, 3):
            name = f"invoice-{number}"
            try:
                handle = await rt.start(INVOICE, inputs={"amount": 10.5 * number}, run_id=name)
            except RunExistsError:
                if (await rt.get(name)).status == "success":
                    print(f"{name}: paid before")
                    continue
                handle = await rt.start_resumed(name)
            result = await handle.settled()
            result.raise_for_status()
            print(f"{name}: {result.outputs['receipt']}")


if __name__ == "__main__":
    anyio.run(main)
