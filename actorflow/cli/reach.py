"""The hosts that a file names, and whether the lists let it reach them."""

from __future__ import annotations

import os
import re
from typing import Final, Literal, TypeAlias

from attrs import frozen

from actorflow.egress.allowed import literal_origin
from actorflow.egress.guard import Guard
from actorflow.egress.refusals import EgressRefused
from actorflow.egress.telling import named_entry
from actorflow.spec.model import WorkflowSpec
from actorflow.spec.needs import Target, host_of, targets

__all__ = ["Reach", "reaches"]

Verdict: TypeAlias = Literal["own", "allowed", "open", "refused"]

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_TEMPLATE: Final = re.compile(r"\$?\{")
_WORST_LAST: Final[tuple[Verdict, ...]] = ("own", "allowed", "open", "refused")


@frozen
class Reach:
    """A host, and what a run would be told."""

    host: str  #: as `Needs.hosts` has it
    #: own: the file allows it by naming it, for HTTP agents; open: a template makes it, and so a run judges it
    verdict: Verdict
    flag: str = ""  #: what would allow it
    code: str = ""  #: why it is refused
    problem: str = ""
    hint: str = ""  #: how to write it instead


def reaches(spec: WorkflowSpec, guard: Guard) -> tuple[Reach, ...]:
    """Each host once, with the worst that is said of a URL there.

    Names are judged, and no addresses: what a name leads to shows when it is dialled.
    """
    worst: dict[str, Reach] = {}
    for reach in (_judged(target, spec, guard) for target in targets(spec)):
        known = worst.get(reach.host)
        if known is None or _WORST_LAST.index(reach.verdict) > _WORST_LAST.index(known.verdict):
            worst[reach.host] = reach
    return tuple(worst.values())


def _judged(target: Target, spec: WorkflowSpec, guard: Guard) -> Reach:
    host = host_of(target.url)
    template = _TEMPLATE.search(target.url)
    origin = literal_origin(target.url)
    if origin is None and template is not None:
        return _made_by_template(host, target.url, guard)
    is_own = origin is not None and target.is_of_agent and spec.trust == "own"
    literal = target.url if template is None else target.url[: template.start()]
    try:
        (guard.also([origin]) if is_own and origin is not None else guard).permit(literal)
    except EgressRefused as refused:
        is_listable = refused.hint.startswith("--allow-host")
        flag = f"--allow-host {origin.text}" if origin is not None and is_listable else ""
        hint = "" if is_listable else refused.hint
        return Reach(host, "refused", flag, refused.code, refused.problem, hint)
    return Reach(host, "own" if is_own else "allowed")


def _made_by_template(host: str, url: str, guard: Guard) -> Reach:
    """A host that variables hold: they may be set here as they will be in a run."""
    entry = named_entry(url)
    if entry is None:
        return Reach(host, "open")
    try:
        guard.permit(_VARIABLE.sub(lambda found: os.environ[found[1]], host))
    except (EgressRefused, KeyError):
        return Reach(host, "open", f'--allow-host "{entry}"')
    return Reach(host, "allowed")
