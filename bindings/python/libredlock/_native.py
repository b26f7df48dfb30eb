"""The C functions. Nothing here knows what they are for; `tests/test_abi.py` holds them to include/redlock.json."""

from __future__ import annotations

import ctypes
import os
from ctypes import c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

#: The library of this major and minor version has every function that is used here.
NEEDED = 0 * 1_000_000 + 1 * 1_000

#: Results of C functions.
OK = 0
E_NOT_ACQUIRED, E_NO_QUORUM, E_LOST, E_CANCELLED, E_INTERRUPTED, E_INVALID = -1, -2, -3, -4, -5, -6
E_CONFIG, E_FORKED, E_UNKNOWN, E_CLOSED, E_INTERNAL = -7, -8, -9, -10, -11

EVENT_DONE, EVENT_LEASE_LOST, EVENT_LEASE_EXTENDED, EVENT_NODE = 1, 2, 3, 4
LEASE_HELD = 1

P = c_void_p
#: Name: what it returns, and its parameters. Objects are pointers.
FUNCTIONS: Dict[str, Tuple[Any, List[Any]]] = {
    "redlock_version_number": (c_uint32, []),
    "redlock_version": (c_char_p, []),
    "redlock_new": (c_int32, [P, c_size_t, P, P, P]),
    "redlock_close": (c_int32, [P, c_int32, c_int64, P]),
    "redlock_free": (None, [P]),
    "redlock_wait_ready_cancellable": (c_int32, [P, c_int64, P, P]),
    "redlock_node_count": (c_size_t, [P]),
    "redlock_node_url": (c_char_p, [P, c_size_t]),
    "redlock_lock_request": (c_int32, [P, P, P, P]),
    "redlock_unlock": (c_int32, [P, P]),
    "redlock_unlock_nowait": (c_int32, [P]),
    "redlock_extend": (c_int32, [P, c_uint64, P]),
    "redlock_lease_token": (P, [P, P]),
    "redlock_lease_fence": (c_uint64, [P]),
    "redlock_lease_remaining_ms": (c_int64, [P]),
    "redlock_lease_state": (c_int32, [P]),
    "redlock_lease_wait_lost_cancellable": (c_int32, [P, c_int64, P]),
    "redlock_lease_free": (None, [P]),
    "redlock_unlock_token_bytes": (c_int32, [P, c_char_p, c_size_t, c_char_p, c_size_t, P]),
    "redlock_extend_token_bytes": (c_int32, [P, c_char_p, c_size_t, c_char_p, c_size_t, c_uint64, P]),
    "redlock_request_new": (P, []),
    "redlock_request_free": (None, [P]),
    "redlock_request_set_resource_bytes": (c_int32, [P, c_char_p, c_size_t]),
    "redlock_request_set_ttl_ms": (c_int32, [P, c_uint64]),
    "redlock_request_set_wait_ms": (c_int32, [P, c_int64]),
    "redlock_request_set_retries": (c_int32, [P, c_int64]),
    "redlock_request_set_fence": (c_int32, [P, c_int32]),
    "redlock_request_set_auto_extend": (c_int32, [P, c_int32]),
    "redlock_request_set_max_hold_ms": (c_int32, [P, c_uint64]),
    "redlock_request_set_token_bytes": (c_int32, [P, c_char_p, c_size_t]),
    "redlock_request_set_tag": (c_int32, [P, c_uint64]),
    "redlock_cancel": (c_int32, [P, c_uint64]),
    "redlock_options_new": (P, []),
    "redlock_options_free": (None, [P]),
    "redlock_error_free": (None, [P]),
    "redlock_error_message": (c_char_p, [P]),
    "redlock_error_node_count": (c_size_t, [P]),
    "redlock_error_node_url": (c_char_p, [P, c_size_t]),
    "redlock_error_node_outcome": (c_int32, [P, c_size_t]),
    "redlock_error_node_text": (c_char_p, [P, c_size_t]),
    "redlock_error_node_elapsed_ms": (c_uint64, [P, c_size_t]),
    "redlock_error_node_remaining_ms": (c_int64, [P, c_size_t]),
    "redlock_inspect_bytes": (c_int32, [P, c_char_p, c_size_t, P, P]),
    "redlock_inspection_free": (None, [P]),
    "redlock_inspection_is_held": (c_int32, [P]),
    "redlock_inspection_token": (P, [P, P]),
    "redlock_inspection_remaining_ms": (c_int64, [P]),
    "redlock_inspection_node_count_held": (c_size_t, [P]),
    "redlock_inspection_node_count": (c_size_t, [P]),
    "redlock_inspection_node_url": (c_char_p, [P, c_size_t]),
    "redlock_inspection_node_outcome": (c_int32, [P, c_size_t]),
    "redlock_inspection_node_text": (c_char_p, [P, c_size_t]),
    "redlock_inspection_node_token": (P, [P, c_size_t, P]),
    "redlock_inspection_node_remaining_ms": (c_int64, [P, c_size_t]),
    "redlock_stats": (c_int32, [P, P, P]),
    "redlock_stats_free": (None, [P]),
    **{
        f"redlock_stats_{counter}": (c_uint64, [P])
        for counter in ("attempts", "acquired", "contended", "no_quorum", "released", "extended", "lost")
    },
    "redlock_fd": (c_int32, [P]),
    "redlock_process": (c_int32, [P]),
    "redlock_next_events": (c_size_t, [P, P, c_size_t]),
    "redlock_submit_lock": (c_int32, [P, P, P]),
    "redlock_submit_unlock": (c_int32, [P, c_uint64, P]),
    "redlock_submit_extend": (c_int32, [P, c_uint64, c_uint64, P]),
    "redlock_submit_unlock_token_bytes": (c_int32, [P, c_char_p, c_size_t, c_char_p, c_size_t, c_uint64, P]),
    "redlock_submit_extend_token_bytes": (c_int32, [P, c_char_p, c_size_t, c_char_p, c_size_t, c_uint64, c_uint64, P]),
    "redlock_event_kind": (c_int32, [P]),
    "redlock_event_tag": (c_uint64, [P]),
    "redlock_event_status": (c_int32, [P]),
    "redlock_event_take_error": (P, [P]),
    "redlock_event_take_lease": (P, [P]),
    "redlock_event_free": (None, [P]),
}
#: Options: the type of each setter's value.
OPTIONS: Dict[str, Any] = {
    **{
        name: c_uint64
        for name in (
            "node_timeout_ms",
            "stall_timeout_ms",
            "connect_timeout_ms",
            "retry_delay_ms",
            "retry_jitter_ms",
            "drift_ppm",
            "max_ttl_ms",
        )
    },
    **{
        name: c_char_p
        for name in (
            "key_prefix",
            "tls_ca_file",
            "tls_cert_file",
            "tls_key_file",
            "username",
            "password",
            "client_name",
        )
    },
    **{name: c_int32 for name in ("restart_guard", "wake", "interruptible", "tls_insecure", "protocol", "avoid_lua")},
    "retry_count": c_int64,
    "spin_us": c_uint32,
}
FUNCTIONS.update({f"redlock_options_set_{name}": (c_int32, [P, kind]) for name, kind in OPTIONS.items()})

#: Functions during which other threads of Python run: those that wait, read files, or talk to many sockets. The others
#: take a microsecond, and giving up the interpreter for that would only cost time.
_LONG = {
    "redlock_new",
    "redlock_close",
    "redlock_free",
    "redlock_wait_ready_cancellable",
    "redlock_lock_request",
    "redlock_unlock",
    "redlock_extend",
    "redlock_lease_wait_lost_cancellable",
    "redlock_lease_free",
    "redlock_unlock_token_bytes",
    "redlock_extend_token_bytes",
    "redlock_inspect_bytes",
    "redlock_process",
}


def _candidates() -> Sequence[str]:
    named = os.environ.get("REDLOCK_LIBRARY")
    if named:
        return [named]
    bundled = [str(path) for path in sorted(Path(__file__).parent.glob("libredlock.so*"))]
    return [*bundled, "libredlock.so.0"]


def _load() -> ctypes.CDLL:
    failures: List[str] = []
    for name in _candidates():
        try:
            library, brief = ctypes.CDLL(name), ctypes.PyDLL(name)
        except OSError as error:
            failures.append(str(error))
            continue
        for function, (returns, parameters) in FUNCTIONS.items():
            declared = getattr(library if function in _LONG else brief, function)
            declared.restype, declared.argtypes = returns, parameters
            setattr(library, function, declared)
        found = int(library.redlock_version_number())
        if found // 1_000 != NEEDED // 1_000:
            raise ImportError(f"{name} is libredlock {library.redlock_version().decode()}; this package needs 0.1")
        return library
    raise ImportError("libredlock was not found; REDLOCK_LIBRARY names the file: " + "; ".join(failures))


lib = _load()


def version() -> str:
    """The version of the C library in use."""
    return str(lib.redlock_version().decode())


def out() -> Any:
    """A place for a pointer that a C function hands out."""
    return c_void_p()


def sized(getter: Any, *arguments: Any) -> Optional[bytes]:
    """What a getter of bytes and their length returns."""
    length = c_size_t()
    pointer = getter(*arguments, ctypes.byref(length))
    return None if pointer is None else ctypes.string_at(pointer, length.value)
