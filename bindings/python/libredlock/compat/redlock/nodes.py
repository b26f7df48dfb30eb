"""What connection details mean for libredlock."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional
from urllib.parse import quote

from ..._client import Client

#: Arguments of redis-py that are about its pools and its replies, which there are none of here.
_WITHOUT_MEANING = {
    "charset",
    "connection_class",
    "db_select",
    "decode_responses",
    "encoding",
    "encoding_errors",
    "errors",
    "health_check_interval",
    "lib_name",
    "lib_version",
    "max_connections",
    "parser_class",
    "protocol",
    "redis_connect_func",
    "retry",
    "retry_on_error",
    "retry_on_timeout",
    "single_connection_client",
    "socket_keepalive",
    "socket_keepalive_options",
    "socket_read_size",
    "socket_type",
    "ssl_check_hostname",
    "ssl_min_version",
}
_OPTIONS = {
    "client_name": "client_name",
    "ssl_ca_certs": "tls_ca_file",
    "ssl_certfile": "tls_cert_file",
    "ssl_keyfile": "tls_key_file",
}


class Node:
    """One node: where it is, and what it has to say about the options of the client."""

    def __init__(self, details: Any) -> None:
        pool = getattr(details, "connection_pool", None)
        if pool is not None:
            # A client of redis-py.
            given: Dict[str, Any] = dict(pool.connection_kwargs)
            kind = getattr(pool, "connection_class", type(None))
            given["ssl"] = any(base.__name__ == "SSLConnection" for base in kind.__mro__)
        elif isinstance(details, Mapping):
            given = dict(details)
        else:
            raise TypeError(f"connection details are mappings or clients of redis-py, not {type(details).__name__}")
        provider = given.pop("credential_provider", None)
        if provider is not None:
            *username, password = provider.get_credentials()
            given.update(username=username[0] if username else None, password=password)
        url = given.pop("url", None)
        self.options: Dict[str, Any] = {}
        parts: Dict[str, Any] = {}
        for name, value in given.items():
            if value is None or name in _WITHOUT_MEANING:
                continue
            if name in _OPTIONS:
                self.options[_OPTIONS[name]] = value
            elif name == "ssl_cert_reqs":
                if str(value).lower() in ("none", "0", "certoptional.cert_none", "verifymode.cert_none"):
                    self.options["tls_insecure"] = 1
            elif name == "socket_timeout":
                self.options["node_timeout_ms"] = max(1, round(float(value) * 1000))
            elif name == "socket_connect_timeout":
                self.options["connect_timeout_ms"] = max(1, round(float(value) * 1000))
            elif name in ("host", "port", "db", "username", "password", "ssl", "path", "unix_socket_path"):
                parts[name] = value
            elif pool is None:
                raise TypeError(f"there is no connection detail {name!r}")
        self.url = url if url is not None else _url(parts)

    def __repr__(self) -> str:
        place = self.url.rsplit("@", 1)[-1]
        return f"<Node {place}>"


def _url(parts: Mapping[str, Any]) -> str:
    password, username = parts.get("password"), parts.get("username")
    path: Optional[str] = parts.get("path") or parts.get("unix_socket_path")
    db = int(parts.get("db", 0))
    if path:
        credentials = [("user", username), ("pass", password)]
        query = "".join(f"&{name}={quote(value, safe='')}" for name, value in credentials if value)
        return f"unix://{quote(path)}?db={db}{query}"
    login = ""
    if username or password:
        login = f"{quote(username or '', safe='')}:{quote(password or '', safe='')}@"
    host = str(parts.get("host", "localhost"))
    host = f"[{host}]" if ":" in host else host
    scheme = "rediss" if parts.get("ssl") else "redis"
    return f"{scheme}://{login}{host}:{int(parts.get('port', 6379))}/{db}"


class Nodes(List[Node]):
    """The nodes of a lock or of a factory, with the connections to them, which are made when they are first used."""

    def __init__(self, connection_details: Iterable[Any]) -> None:
        super().__init__(Node(details) for details in connection_details)
        self._client: Optional[Client] = None

    @property
    def client(self) -> Client:
        if self._client is None:
            options: Dict[str, Any] = {}
            for node in self:
                for name, value in node.options.items():
                    if name.endswith("_timeout_ms"):
                        options[name] = max(value, options.get(name, 0))
                    elif options.setdefault(name, value) != value:
                        raise ValueError(f"the nodes differ in {name}: {options[name]!r} and {value!r}")
            self._client = Client([node.url for node in self], **options)
        return self._client
