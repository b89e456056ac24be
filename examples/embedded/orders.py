"""actorflow inside a program of yours: orders side by side, agents bound in code, a run that is resumed.

python examples/embedded/orders.py            # on asyncio
python examples/embedded/orders.py trio       # the same on trio
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio

from actorflow import AgentCall, RunResult, Runtime, load_dict

ORDER = load_dict(
    {
        "name": "order",
        "inputs": {
            "order_id": {"type": "string", "required": True},
            "amount": {"type": "number", "required": True},
        },
        "tasks": {
            "check": {"agent": "check", "with": {"amount": "{{ input.amount }}"}},
            "charge": {
                "agent": "charge",
                "depends_on": ["check"],
                "with": {"amount": "{{ tasks.check.output.amount }}"},
                "retry": {"max_attempts": 3, "delay": "20ms"},
            },
            "ship": {"agent": "ship", "depends_on": ["charge"], "when": "{{ input.amount > 0 }}"},
        },
        "outputs": {"receipt": "{{ tasks.charge.output.receipt }}"},
    }
)


class Shop:
    """A payment service that is shaky, and down for big orders until somebody mends it."""

    def __init__(self) -> None:
        self.charged: dict[str, float] = {}
        self.is_mended = False

    async def check(self, call: AgentCall) -> dict[str, Any]:
        """Round the amount."""
        await anyio.sleep(0.01)
        return {"amount": round(call.input["amount"], 2)}

    async def charge(self, call: AgentCall) -> dict[str, Any]:
        """Charge once for each idempotency key, however often it is asked."""
        if call.attempt == 1:
            raise ConnectionError("the payment service hung up")
        if call.input["amount"] > 100 and not self.is_mended:
            raise RuntimeError("no terminal for big orders")
        self.charged.setdefault(call.idempotency_key, call.input["amount"])
        return {"receipt": f"paid {call.input['amount']:.2f}"}

    def ship(self, call: AgentCall) -> str:
        """Synchronous, so it runs in a thread."""
        return f"parcel for {call.input['order_id']}"


async def main(store: str) -> dict[str, RunResult]:
    """Run ten orders at once; one fails, is mended, and is resumed: what succeeded is not run again."""
    shop = Shop()
    agents = {"check": shop.check, "charge": shop.charge, "ship": shop.ship}
    results: dict[str, RunResult] = {}
    async with Runtime(store=store, agents=agents) as rt:

        async def order(number: int) -> None:
            inputs = {"order_id": f"o-{number}", "amount": 15.5 * number}
            results[f"o-{number}"] = await rt.run(ORDER, inputs=inputs, run_id=f"o-{number}")

        async with anyio.create_task_group() as orders:
            for number in range(1, 8):
                orders.start_soon(order, number)
        for name, result in sorted(results.items()):
            print(name, result.status, dict(result.outputs) or result.error)

        shop.is_mended = True
        for name, result in sorted(results.items()):
            if result.status == "failed":
                results[name] = await rt.resume(name)
                print(name, results[name].status, dict(results[name].outputs), "after its resume")
    print(f"{len(shop.charged)} charges, {sum(shop.charged.values()):.2f} in all")
    return results


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        backend = sys.argv[1] if len(sys.argv) > 1 else "asyncio"
        anyio.run(main, f"sqlite:///{Path(folder) / 'orders.db'}", backend=backend)
