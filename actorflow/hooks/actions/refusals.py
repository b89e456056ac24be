"""Refused requests in words, where secrets may have a part in the URL."""

from __future__ import annotations

import re
from typing import Final

from actorflow.egress.refusals import EgressRefused
from actorflow.hooks.actions.payloads import text_of
from actorflow.secrecy.run_secrets import RunSecrets
from actorflow.spec.model import HookSpec

__all__ = ["refusal_text"]

_VARIABLE: Final = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")


def refusal_text(refused: EgressRefused, hook: HookSpec, secrets: RunSecrets) -> str:
    """What is told of a refusal, without secrets.

    A host that is a secret, as it is where a URL begins with `${BASE}`, goes by the name of its variable: whoever reads it
    is to know what would allow it, and a shell knows the variable too.

    Args:
        refused: what the guard has said.
        hook: whose request it is, as it stands in the definition.
        secrets: of the run.
    """
    told = str(refused)
    variable = _VARIABLE.match(text_of(hook.params.get("url")))
    if variable is None or not refused.hint or secrets.hidden(told) == told:
        hidden: str = secrets.hidden(told)
        return hidden
    return f'{refused.code} what {variable[0]} holds is not allowed; --allow-host "${variable[1]}" would allow it'
