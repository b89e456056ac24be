"""Texts that hold the names of secrets: placeholders, until whoever acts puts the values in.

A placeholder is made when a template is compiled, out of the text of the definition and of nothing else. Data cannot
forge one: an output that reads `${API_KEY}` is a string, and a string is never looked into again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

SecretKind: TypeAlias = Literal["env", "secret"]


@dataclass(frozen=True, slots=True)
class SecretName:
    """What a placeholder stands for; as a string it is the placeholder as it is written in a file."""

    kind: SecretKind  #: `env` was written `${NAME}`, `secret` was written `{{ secrets.NAME }}`
    name: str

    def __str__(self) -> str:
        return f"${{{self.name}}}" if self.kind == "env" else f"{{{{ secrets.{self.name} }}}}"


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """A rendered text with at least one placeholder in it; it never holds a secret's value."""

    parts: tuple[str | SecretName, ...]  #: in order; no text is empty, no two texts stand side by side

    def resolve(self, lookup: Callable[[SecretName], str]) -> str:
        """The text with every placeholder replaced; values are put in as they are and never looked into.

        Raises:
            Exception: Whatever `lookup` raises.
        """
        return "".join([part if isinstance(part, str) else lookup(part) for part in self.parts])

    def __str__(self) -> str:
        return "".join(map(str, self.parts))

    def __repr__(self) -> str:
        return f"Sealed({str(self)!r})"


def sealed_or_text(parts: Iterable[str | SecretName]) -> Sealed | str:
    """The parts as one text: sealed if there is a placeholder among them, else the plain string."""
    joined: list[str | SecretName] = []
    texts: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        if text := "".join(texts):
            joined.append(text)
        joined.append(part)
        texts.clear()
    text = "".join(texts)
    if not joined:
        return text
    return Sealed((*joined, text) if text else tuple(joined))
