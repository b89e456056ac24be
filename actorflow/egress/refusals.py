"""Why a request is not made."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

__all__ = ["REASONS", "EgressRefused", "RefusalCode"]

RefusalCode: TypeAlias = Literal["E440", "E441", "E442", "E443", "E444", "E445", "E446", "E447"]

REASONS: Final[dict[RefusalCode, str]] = {
    "E440": "not a URL",
    "E441": "a scheme that is not taken",
    "E442": "a user or password in a URL",
    "E443": "a port that is not taken",
    "E444": "a host that is not allowed",
    "E445": "an address that is not dialled",
    "E446": "a redirect that is not followed",
    "E447": "a header that cannot be sent",
}
"""What each code stands for."""


class EgressRefused(Exception):  # noqa: N818 - a fact about a request, not a fault
    """Raised for a request that is not made; no connection to its target has been opened.

    Args:
        code: stable; `REASONS` says what it stands for.
        problem: one sentence, what was found included.
        hint: what to do: where a list may allow it, the flag that would.
        address: of E445, the address as an entry of its own.
        is_of_redirect: whether a redirect led there, and not the URL that was asked for.
    """

    def __init__(
        self,
        code: RefusalCode,
        problem: str,
        hint: str = "",
        *,
        address: str = "",
        is_of_redirect: bool = False,
    ) -> None:
        super().__init__(code, problem, hint)
        self.code: RefusalCode = code
        self.problem = problem
        self.hint = hint
        self.address = address
        self.is_of_redirect = is_of_redirect

    def __str__(self) -> str:
        text = f"{self.code} {self.problem}"
        return f"{text}; {self.hint}" if self.hint else text
