"""Exceptions by status, with what each node contributed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Optional, Sequence, Type

from . import _native as native


@dataclass(frozen=True)
class NodeOutcome:
    """What one node contributed to a failure."""

    #: Without user name and password.
    url: str
    #: One of the REDLOCK_NODE_ values of redlock.h.
    outcome: int
    #: The node's message, or the text of its outcome.
    text: str
    #: Seconds from the request to the outcome.
    elapsed: float
    #: Seconds that another holder's key has left there, where known.
    remaining: Optional[float]


class RedlockError(Exception):
    """A call failed. ``nodes`` has one entry per node, or is empty where no node was asked."""

    status: ClassVar[int] = 0

    def __init__(self, message: str, nodes: Sequence[NodeOutcome] = ()) -> None:
        super().__init__(message)
        self.nodes: List[NodeOutcome] = list(nodes)


class NotAcquiredError(RedlockError):
    """Somebody else holds the lock, or it was granted too late to be of use."""

    status = native.E_NOT_ACQUIRED


class NoQuorumError(RedlockError):
    """Too many nodes failed to form a quorum."""

    status = native.E_NO_QUORUM


class LockLostError(RedlockError):
    """The lease has ended without having been released, or never was this token's."""

    status = native.E_LOST


class CancelledError(RedlockError):
    """The operation was cancelled."""

    status = native.E_CANCELLED


class InvalidError(RedlockError, ValueError):
    """An argument is out of its range."""

    status = native.E_INVALID


class ConfigError(RedlockError):
    """Requires operator intervention: URLs, credentials, permissions, certificates."""

    status = native.E_CONFIG


class ForkedError(RedlockError):
    """The object belongs to the parent process: make a new client in the child."""

    status = native.E_FORKED


class UnknownOutcomeError(RedlockError):
    """The request may or may not have been applied."""

    status = native.E_UNKNOWN


class ClosedError(RedlockError):
    """The client is closed."""

    status = native.E_CLOSED


class InternalError(RedlockError):
    """A bug in libredlock."""

    status = native.E_INTERNAL


_BY_STATUS: Dict[int, Type[RedlockError]] = {kind.status: kind for kind in RedlockError.__subclasses__()}


def from_native(status: int, error: Optional[int]) -> RedlockError:
    """The exception for a status and the error object that came with it, which is freed."""
    lib: Any = native.lib
    kind = _BY_STATUS.get(status, InternalError)
    if not error:
        return kind(str(kind.__doc__).splitlines()[0])
    try:
        nodes: List[NodeOutcome] = []
        for node in range(lib.redlock_error_node_count(error)):
            left_ms = lib.redlock_error_node_remaining_ms(error, node)
            nodes.append(
                NodeOutcome(
                    url=lib.redlock_error_node_url(error, node).decode(),
                    outcome=lib.redlock_error_node_outcome(error, node),
                    text=lib.redlock_error_node_text(error, node).decode(errors="replace"),
                    elapsed=lib.redlock_error_node_elapsed_ms(error, node) / 1000,
                    remaining=None if left_ms < 0 else left_ms / 1000,
                )
            )
        return kind(lib.redlock_error_message(error).decode(errors="replace"), nodes)
    finally:
        lib.redlock_error_free(error)
