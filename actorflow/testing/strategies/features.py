"""The parts of the format that a drawn definition may have, each under a word."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Literal, TypeAlias, cast, get_args

from actorflow.expression.names import did_you_mean

__all__ = ["EVERY_FEATURE", "FEATURES", "FEATURE_WORDS", "OF_HOOKS", "Feature", "checked_features"]

Feature: TypeAlias = Literal[
    "dependencies", "failure_edges", "always_edges", "transitions", "stages", "when", "priorities", "sleeps",
    "inputs", "templates", "outputs", "agents", "defaults", "details",
    "retries", "fallbacks", "fallback_values", "strategies", "breakers", "budgets", "deadlines", "timeouts", "losses",
    "soft_errors", "parallelism",
    "blocking_hooks", "async_hooks", "signals", "transforms", "notices", "dispatches", "webhooks",
]  # fmt: skip
"""What a drawn definition may have beside tasks with agents.

- Order: `dependencies` (edges on success), `failure_edges`, `always_edges`, `transitions`, `stages`, `when`, `priorities`,
  `sleeps`, `parallelism` (a bound on it).
- Data: `inputs` (declared ones), `templates` (what tasks are given), `outputs` (of tasks and of the run), `details`
  (descriptions, options, metadata, what is sensitive).
- What several tasks share: `agents` (declared, to be bound by the caller), `defaults` (of what else may be drawn).
- Recovery: `retries` (with backoff and jitter), `fallbacks`, `fallback_values`, `strategies` (of `on_error`), `breakers`,
  `budgets`, `deadlines` (of tasks and of the run), `timeouts`, `losses` (how many a task survives), `soft_errors`.
- Hooks: `blocking_hooks` and `async_hooks` on all events where there can be such, `signals` (hooks on a message to the
  run), `transforms`, `notices` (`on_complete` of a task), `dispatches` (runs that hooks start), `webhooks`.
"""

FEATURE_WORDS: Final[tuple[Feature, ...]] = get_args(Feature)
"""In the order in which they are written down."""

EVERY_FEATURE: Final[frozenset[Feature]] = frozenset(FEATURE_WORDS)
"""All that can be drawn."""

FEATURES: Final[frozenset[Feature]] = EVERY_FEATURE - {"webhooks"}
"""What is drawn if nothing else is said: all that needs nobody outside of the process."""

OF_HOOKS: Final[frozenset[Feature]] = frozenset(
    {"blocking_hooks", "async_hooks", "signals", "transforms", "notices", "dispatches", "webhooks"}
)
"""Those that are about hooks."""


def checked_features(words: Iterable[str], *, hooks: bool) -> frozenset[Feature]:
    """The words as features; without `hooks` those that are about hooks are left out.

    Raises:
        ValueError: there is no such feature.
    """
    chosen = frozenset(words)
    if unknown := sorted(chosen - EVERY_FEATURE):
        raise ValueError("; ".join(_unknown(word, EVERY_FEATURE) for word in unknown))
    features = cast("frozenset[Feature]", chosen)
    return features if hooks else features - OF_HOOKS


def _unknown(word: str, known: Collection[str]) -> str:
    hint = did_you_mean(word, sorted(known)) or f"; there are {', '.join(sorted(known))}"
    return f"there is no feature {word!r} of definitions{hint}"
