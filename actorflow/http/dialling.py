"""The last look before a connection: which address is dialled, for which request."""

from __future__ import annotations

import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

from actorflow.egress.guard import Permit

__all__ = ["check_dialled", "dialling", "socket_for"]

AddressInfo: TypeAlias = tuple[int, int, int, str, Sequence[Any]]
"""As `socket.getaddrinfo` gives it: family, type, protocol, name, and address with port."""

_PERMIT: Final[ContextVar[Permit]] = ContextVar("actorflow_permit")
"""Of the request that is made; connections are opened in its context."""


@contextmanager
def dialling(permit: Permit) -> Generator[None]:
    """Let connections be opened for what is permitted, and nothing else, within the block."""
    token = _PERMIT.set(permit)
    try:
        yield
    finally:
        _PERMIT.reset(token)


def check_dialled(address: str, port: int) -> None:
    """Judge an address by the permit of the request that is made.

    Raises:
        EgressRefused: E445.
        LookupError: no request is being made; nothing is dialled then.
    """
    _PERMIT.get().check_address(address, port)


def socket_for(info: AddressInfo) -> socket.socket:
    """Make the socket by which an address is dialled, if it may be.

    Raises:
        EgressRefused: E445.
    """
    family, kind, protocol, _, address = info
    check_dialled(address[0], address[1])
    return socket.socket(family, kind, protocol)
