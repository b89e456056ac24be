"""A delivery on its way, and the JSON from which another process can go on with it.

Rendered params may hold places for secrets. They are written apart from the data, by where they are: whatever the data
says, it cannot make one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from attrs import evolve, field, frozen

from actorflow.core.delivery import Settled, Terms, Tries, Try, TryResult
from actorflow.core.hook_context import HookContext
from actorflow.expression import Sealed, SecretName
from actorflow.journal.protocol import Delivery, PendingDelivery
from actorflow.spec.model import HookSpec

__all__ = ["Parcel", "delivery_of", "opened", "renewed", "row_of"]

_TEXT_KEPT: Final = 200  #: characters of a fact of a try; the last try's are kept whole

_CONTEXT: Final = (
    "event", "workflow", "generation", "at", "status", "stage", "task", "output", "error", "detail", "vars",
)  # fmt: skip
"""What a row has of a context; the rest is in its columns, in the definition, or in the run's first event."""

Place: TypeAlias = Sequence[str | int]


@frozen(eq=False)
class Parcel:
    """A delivery that is not settled."""

    context: HookContext = field(repr=False)
    seq: int  #: of the event that owes it
    terms: Terms
    due_at: float  #: of its next try
    tries: Tries = field(factory=Tries)
    reason: str = ""  #: why it is held: nothing more can be done in this process
    is_asked_for: bool = False  #: by an operator, who wants it tried whatever has failed before
    batch: str = ""  #: the one that it is of for all of its tries; empty: none

    @classmethod
    def packed(cls, context: HookContext, seq: int) -> Parcel:
        """One that has just become owed."""
        return cls(context, seq, Terms(context.spec, context.delivery_id, context.at), context.at)

    @property
    def id(self) -> str:
        """That of the delivery."""
        return self.terms.delivery_id

    @property
    def for_next_try(self) -> HookContext:
        """What its action is told."""
        number = self.tries.count + 1
        if number == 1 and not self.batch and not self.is_asked_for:
            return self.context
        return evolve(self.context, number=number, batch=self.batch, is_asked_for=self.is_asked_for)

    @property
    def is_fresh(self) -> bool:
        """Whether it has not been tried, nor sealed in a batch: it may wait for company."""
        return not self.tries.count and not self.batch

    def is_idle(self, by: float) -> bool:
        """Whether nothing comes of it up to a time, but for what becomes of it for its age or its hook."""
        return bool(self.reason) or self.due_at > by

    def tried(self, result: TryResult, began_at: float, ended_at: float) -> Parcel:
        """With a try more."""
        one = Try(
            number=self.tries.count + 1,
            at=began_at,
            duration_s=round(max(0.0, ended_at - began_at), 6),
            status=result.status,
            error=result.error,
            record=_brief(result.record) if result.record else result.record,
        )
        tries = self.tries.followed_by(one, has_acted=result.has_acted)
        return Parcel(
            self.context, self.seq, self.terms, self.due_at, tries, "", self.is_asked_for, self.batch
        )

    def due_again(self, at: float) -> Parcel:
        """With its next try at a time."""
        return Parcel(self.context, self.seq, self.terms, at, self.tries, "", self.is_asked_for, self.batch)

    def held(self, reason: str) -> Parcel:
        """As one of which nothing more comes here."""
        return evolve(self, reason=reason)

    def sealed(self, batch: str, owed_at: float) -> Parcel:
        """As a member of a batch, of whose age `owed_at` tells."""
        return evolve(self, batch=batch, terms=evolve(self.terms, owed_at=owed_at))

    def unsealed(self) -> Parcel:
        """As one that is of no batch."""
        return evolve(self, batch="")


def delivery_of(parcel: Parcel, settled: Settled, facts: Mapping[str, Any]) -> Delivery:
    """What is recorded of a delivery that is over.

    Args:
        parcel: with all of its tries.
        settled: how it has ended.
        facts: the record of its last try, or what a transform has set.
    """
    record = dict(facts)
    if parcel.tries.count:
        record["tries"] = [_flat(one) for one in parcel.tries.recent]
        record["try_count"] = parcel.tries.count
    if parcel.batch:
        record["batch"] = parcel.batch
    if settled.reason:
        record["reason"] = settled.reason
        record.setdefault("summary", settled.reason)
    return Delivery(parcel.id, parcel.context.path, parcel.seq, settled.status, record)


def row_of(parcel: Parcel, inputs: Mapping[str, Any] | None) -> PendingDelivery:
    """A delivery as a journal keeps it until it is settled.

    Args:
        parcel: the delivery.
        inputs: those of the run as hooks are told of them, which are left out.
    """
    context, tries = parcel.context, parcel.tries
    params, seals = _unsealed(context.params)
    body: dict[str, Any] = {
        "context": {name: getattr(context, name) for name in _CONTEXT},
        "params": params,
        "owed_at": parcel.terms.owed_at,
        "tries": [_flat(one) for one in tries.recent],
        "counts": [tries.count, tries.attempts, tries.has_acted],
    }
    if seals:
        body["seals"] = seals
    if parcel.reason:
        body["reason"] = parcel.reason
    if parcel.is_asked_for:
        body["asked_for"] = True
    if parcel.batch:
        body["batch"] = parcel.batch
    if context.input is not inputs and context.input != inputs:
        body["input"] = context.input
    return PendingDelivery(parcel.id, context.path, parcel.seq, parcel.due_at, body)


def opened(row: PendingDelivery, run_id: str, spec: HookSpec, inputs: Mapping[str, Any]) -> Parcel:
    """What `row_of` made a row of. One that was held is due: this may be another process."""
    body = row.body
    count, attempts, has_acted = body["counts"]
    context = HookContext(
        **body["context"],
        delivery_id=row.delivery_id,
        path=row.hook,
        spec=spec,
        run_id=run_id,
        input=body.get("input", inputs),
        params=_sealed(body["params"], body.get("seals", ())),
    )
    tries = Tries(tuple(Try(**one) for one in body["tries"]), count, attempts, has_acted)
    terms = Terms(spec, row.delivery_id, body["owed_at"])
    return Parcel(
        context,
        row.seq,
        terms,
        row.due_at,
        tries,
        is_asked_for=body.get("asked_for", False),
        batch=body.get("batch", ""),
    )


def renewed(row: PendingDelivery, now: float) -> PendingDelivery:
    """A delivery that was given up, for an operator to try again: alone, owed anew, with all of its attempts, due at once."""
    count = row.body["counts"][0]
    body = {**row.body, "owed_at": now, "counts": [count, 0, False], "asked_for": True}
    for name in ("reason", "batch"):
        body.pop(name, None)
    return evolve(row, due_at=now, body=body)


def _flat(one: Try) -> dict[str, Any]:
    """A try as JSON, without what it has nothing of."""
    facts: dict[str, Any] = {
        "number": one.number,
        "at": one.at,
        "duration_s": one.duration_s,
        "status": one.status,
    }
    if one.error:
        facts["error"] = one.error
    if one.record:
        facts["record"] = one.record
    return facts


def _brief(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is kept of each try: there may be many, and what a process printed may be long."""
    return {key: value[:_TEXT_KEPT] if isinstance(value, str) else value for key, value in _scalars(record)}


def _scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in record.items() if isinstance(value, str | int | float | None))


def _unsealed(params: Any) -> tuple[Any, list[Any]]:
    """The params with null for what is sealed, and where that was: `[[place, parts], …]`."""
    seals: list[Any] = []

    def walked(value: Any, place: tuple[str | int, ...]) -> Any:
        match value:
            case Sealed():
                seals.append([list(place), [_flat_part(part) for part in value.parts]])
                return None
            case Mapping():
                items = cast("Mapping[str, Any]", value).items()
                return {key: walked(item, (*place, key)) for key, item in items}
            case list() | tuple():
                return [walked(item, (*place, at)) for at, item in enumerate(cast("list[Any]", value))]
            case _:
                return value

    return walked(params, ()), seals


def _sealed(params: Any, seals: Sequence[tuple[Place, Sequence[Any]]]) -> Any:
    """What `_unsealed` took apart; the params are made anew."""
    root = [_copied(params)] if seals else [params]
    for place, parts in seals:
        at: Any = root
        *way, last = (0, *place)
        for step in way:
            at = at[step]
        at[last] = Sealed(tuple(part if isinstance(part, str) else SecretName(*part) for part in parts))
    return root[0]


def _copied(value: Any) -> Any:
    match value:
        case Mapping():
            return {key: _copied(item) for key, item in cast("Mapping[str, Any]", value).items()}
        case list() | tuple():
            return [_copied(item) for item in cast("list[Any]", value)]
        case _:
            return value


def _flat_part(part: str | SecretName) -> Any:
    return part if isinstance(part, str) else [part.kind, part.name]
