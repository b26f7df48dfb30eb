"""``redlock.client``."""

from __future__ import annotations

from typing import Any, Dict, List, Union

from .algorithm import get_quorum


class RedlockConfig:
    """Which servers, and how long to wait for them.

    :param masters: URLs of independent masters, at least one.
    :param socket_timeout: seconds that a node may take to answer.
    :param socket_connect_timeout: seconds that a connection may take.
    """

    def __init__(
        self, *, masters: List[str], socket_timeout: float = 0.1, socket_connect_timeout: float = 0.1
    ) -> None:
        if isinstance(masters, str) or not all(isinstance(url, str) for url in masters):
            raise ValueError("masters is a list of URLs")
        if not masters:
            raise ValueError("masters is empty: nothing could ever be locked")
        if socket_timeout <= 0 or socket_connect_timeout <= 0:
            raise ValueError("timeouts are more than 0 seconds")
        self.masters = list(masters)
        self.socket_timeout = float(socket_timeout)
        self.socket_connect_timeout = float(socket_connect_timeout)

    def __repr__(self) -> str:
        return f"<RedlockConfig of {len(self.masters)} masters>"

    @classmethod
    def of(cls, config: Union[RedlockConfig, List[str]]) -> RedlockConfig:
        """Itself, or one of a list of URLs."""
        if isinstance(config, RedlockConfig):
            return config
        if isinstance(config, list):
            return cls(masters=config)
        raise ValueError("Config must be RedlockConfig or list of strings")

    def options(self, retry_delay_min: float, retry_delay_max: float) -> Dict[str, Any]:
        """The same for :class:`libredlock.Client`."""
        if not 0 <= retry_delay_min <= retry_delay_max:
            raise ValueError("retry_delay_min is at least 0 and at most retry_delay_max")
        return {
            "node_timeout_ms": max(1, round(self.socket_timeout * 1000)),
            "connect_timeout_ms": max(1, round(self.socket_connect_timeout * 1000)),
            "retry_delay_ms": max(1, round(retry_delay_min * 1000)),
            "retry_jitter_ms": round((retry_delay_max - retry_delay_min) * 1000),
        }


class RedlockClientBase:
    """The nodes of a lock manager."""

    def __init__(self, config: Union[RedlockConfig, List[str]]) -> None:
        self.config = RedlockConfig.of(config)
        self.quorum = get_quorum(len(self.config.masters))


class SyncRedlockClient(RedlockClientBase):
    """Those of :class:`Redlock`."""


class AsyncRedlockClient(RedlockClientBase):
    """Those of :class:`AsyncRedlock`."""
