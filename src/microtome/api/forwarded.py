"""Where clients reach the server: what trusted proxies say of it (RFC 7239, X-Forwarded-*), else the Host header.

A header of somebody who is no trusted proxy is ignored, and so is one that cannot be an address: what is made of it
stands in answers, and answers are cached.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]{1,100}){1,8}/?")
_MOST = 4096
"""Characters of a header that are read."""
_PAIR = re.compile(r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))[ \t]*(;|,|$)""")
_PORT = re.compile(r":[0-9]{1,5}$")

Address = IPv4Address | IPv6Address


def is_host(text: str) -> bool:
    """Whether a text may stand behind ``https://``: a name or an address, with or without a port."""
    found = _HOST.fullmatch(text)
    return found is not None and int(found[1] or 0) < 1 << 16


@dataclass(frozen=True, slots=True)
class _Hop:
    """What one proxy says of the request it got. Empty: it says nothing."""

    client: str = ""
    scheme: str = ""
    host: str = ""


class Proxies:
    """The proxies whose word counts, as addresses and networks (``10.0.0.0/8``). Raises ValueError for others."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted: tuple[IPv4Network | IPv6Network, ...] = tuple(ip_network(each, strict=False) for each in trusted)
        self._is_trusted = lru_cache(maxsize=1024)(self._among)

    def origin(self, scope: Scope, root_path: str) -> str:
        """``https://host/prefix`` as the client wrote it, without a slash at the end.

        "/prefix" alone where no header says a host that is one. ``root_path``, where there is one, counts more than a
        proxy's prefix: it is the operator's word.
        """
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            if name in _READ:
                headers.setdefault(name.decode(), []).append(value.decode("latin-1"))
        scheme, host, prefix = scope["scheme"], headers.get("host", [""])[0], root_path
        client = scope.get("client")
        if self._trusted and client and self._is_trusted(client[0]):
            hop, said = self._hop(headers), _last(headers.get("x-forwarded-prefix", ()))
            scheme, host = hop.scheme or scheme, hop.host or host
            if not prefix and _PREFIX.fullmatch(said):
                prefix = said.rstrip("/")
        return f"{scheme}://{host}{prefix}" if is_host(host) else prefix

    def client(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The address of who has sent a request: what trusted proxies say, else who is connected (``peer``)."""
        if not self._trusted or not self._is_trusted(peer):
            return peer
        said: dict[str, list[str]] = {}
        for name, value in headers:
            if name in _READ:
                said.setdefault(name.decode(), []).append(value.decode("latin-1"))
        found = _address(self._hop(said).client)
        return peer if found is None else str(found)

    def _hop(self, headers: Mapping[str, Sequence[str]]) -> _Hop:
        """What the farthest proxy says that is trusted, with all between it and us."""
        hops = _forwarded(headers.get("forwarded", ())) or _x_forwarded(headers)
        said = _Hop()
        for each in reversed(hops):
            said = _Hop(each.client, each.scheme or said.scheme, each.host or said.host)
            if not self._is_trusted(each.client):
                break
        return _Hop(said.client, said.scheme if said.scheme in {"http", "https"} else "", said.host)

    def _among(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._trusted)


_READ = frozenset(
    f"{name}".encode()
    for name in ("host", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix")
)


def _address(text: str) -> Address | None:
    """An address, with or without brackets and a port."""
    plain = text.strip()
    if plain.startswith("["):
        plain = plain[1:].partition("]")[0]
    elif plain.count(":") == 1:
        plain = _PORT.sub("", plain)
    try:
        found = ip_address(plain)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _forwarded(values: Sequence[str]) -> list[_Hop]:
    """The elements of Forwarded fields; none when they are malformed."""
    text, at = ",".join(values)[:_MOST], 0
    hops: list[_Hop] = []
    pairs: dict[str, str] = {}
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            return []
        value = found[3] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
        pairs.setdefault(found[1].lower(), value)
        if found[4] != ";":
            hops.append(_Hop(pairs.get("for", ""), pairs.get("proto", "").lower(), _host(pairs.get("host", ""))))
            pairs = {}
        at = found.end()
    return hops


def _x_forwarded(headers: Mapping[str, Sequence[str]]) -> list[_Hop]:
    """The same of X-Forwarded-*: lists that each proxy makes longer, or values that the last one has set alone."""
    clients, schemes, hosts = (_list(headers.get(f"x-forwarded-{name}", ())) for name in ("for", "proto", "host"))
    count = max(len(clients), len(schemes), len(hosts))
    padded = [[""] * (count - len(each)) + each for each in (clients, schemes, hosts)]
    return [_Hop(client, scheme.lower(), _host(host)) for client, scheme, host in zip(*padded, strict=True)]


def _host(text: str) -> str:
    return text if is_host(text) else ""


def _list(values: Sequence[str]) -> list[str]:
    return [each.strip() for each in ",".join(values)[:_MOST].split(",") if each.strip()]


def _last(values: Sequence[str]) -> str:
    return next(reversed(_list(values)), "")
