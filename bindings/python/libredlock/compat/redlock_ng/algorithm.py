"""``redlock.algorithm``: the arithmetic. The locks of this package use the C library's, which is the same."""

import time
import uuid

#: How far the clocks of two machines may run apart.
DEFAULT_CLOCK_DRIFT_FACTOR = 0.01


def get_random_token() -> str:
    """A token that nobody else has."""
    return str(uuid.uuid4())


def get_quorum(n: int) -> int:
    """A majority of ``n`` nodes."""
    return n // 2 + 1


def calculate_drift(ttl: int, clock_drift_factor: float = DEFAULT_CLOCK_DRIFT_FACTOR) -> int:
    """Milliseconds by which clocks may differ after ``ttl`` milliseconds, and two for the precision of expiry."""
    return int(ttl * clock_drift_factor) + 2


def calculate_validity(ttl: int, elapsed_time_ms: int, drift: int) -> int:
    """Milliseconds for which a lock is certainly held that took ``elapsed_time_ms`` to get."""
    return ttl - elapsed_time_ms - drift


def current_time_ms() -> int:
    """Milliseconds since 1970 on the wall clock, on which no lock here depends."""
    return int(time.time() * 1000)
