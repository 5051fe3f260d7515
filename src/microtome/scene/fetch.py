"""Downloads of files that a client names by address: from allowed hosts only, and from no private network by accident.

Names are resolved here and the connection goes to the address that was looked at, so that a name cannot mean something
else a moment later. Redirects are looked at like the first address.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from microtome.errors import Forbidden, InvalidRequest, LimitExceeded, NotFound, StorageUnavailable

MAX_REDIRECTS = 5
SECONDS = 300.0
"""For the whole of a download."""
CONNECT_SECONDS = 10.0
MAX_ADDRESS = 4096
_PORTS = {"http": 80, "https": 443}
_PART = 1 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """An address that may be asked: ``url`` as given, ``ip`` where it leads."""

    url: str
    host: str
    port: int
    ip: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """``hosts``: name, name:port, or .example.org for all below it. ``private``: addresses of private networks, too."""

    hosts: tuple[str, ...] = ()
    private: bool = False

    def check(self, url: str) -> tuple[str, int]:
        """Host and port of an address. Raises InvalidRequest for no address of http, Forbidden for other hosts."""
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme.lower(), 0)
        except ValueError as error:
            raise InvalidRequest("This is no address", parameter="url") from error
        if len(url) > MAX_ADDRESS or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
            raise InvalidRequest("This is no address", parameter="url")
        if parts.scheme.lower() not in _PORTS or not parts.hostname:
            raise Forbidden("Files are loaded from addresses of http and https only")
        if parts.username is not None or parts.password is not None:
            raise Forbidden("An address to load from holds no credentials")
        host = parts.hostname.lower().rstrip(".")
        if not any(_fits(host, port, parts.scheme.lower(), each.lower()) for each in self.hosts):
            raise Forbidden(f"Nothing is loaded from {host}: the operator allows hosts with --scene-hosts")
        return host, port

    async def target(self, url: str) -> Target:
        """Where an address leads. Raises as ``check``; Forbidden for private addresses, NotFound for unknown names."""
        host, port = self.check(url)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: labels that no name has
            raise NotFound("host", host) from error
        addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        if not addresses:
            raise NotFound("host", host)
        if not self.private and any(not is_public(address) for address in addresses):
            raise Forbidden(f"{host} is at a private address; the operator allows these with --scene-private-hosts")
        return Target(url, host, port, str(addresses[0]))


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether everyone reaches the same machine by it. Addresses of IPv4 inside those of IPv6 count as themselves."""
    if isinstance(address, IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inside is not None:
            return is_public(inside)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address.is_global and not address.is_multicast


class _Nat64:
    """64:ff9b::/96, which leads to addresses of IPv4 (RFC 6052)."""

    def __contains__(self, address: IPv6Address) -> bool:
        return int(address) >> 32 == 0x0064FF9B << 64


_NAT64 = _Nat64()


def _fits(host: str, port: int, scheme: str, allowed: str) -> bool:
    name, colon, number = allowed.rpartition(":")
    if colon and number.isdecimal():
        if int(number) != port:
            return False
    else:
        name = allowed
        if port != _PORTS[scheme]:
            return False
    name = name.strip("[]")
    return host.endswith(name) and len(host) > len(name) if name.startswith(".") else host == name


def name_of(url: str) -> str:
    """The last part of an address's path."""
    return PurePosixPath(unquote(urlsplit(url).path)).name


async def download(
    url: str, into: Path, allowed: Allowed, *, most: int, headers: Iterable[tuple[str, str]] = ()
) -> str:
    """Write what is at ``url`` into a file; the address it came from in the end.

    Raises Forbidden, InvalidRequest, NotFound, LimitExceeded (over ``most`` bytes), StorageUnavailable.
    """
    try:
        async with asyncio.timeout(SECONDS):
            for _ in range(MAX_REDIRECTS + 1):
                onward = await _once(await allowed.target(url), into, most, dict(headers))
                if onward is None:
                    return url
                if urlsplit(onward)[:2] != urlsplit(url)[:2]:
                    headers = ()  # credentials are for the host they were given for, and not to be heard by others
                url = onward
    except TimeoutError as error:
        raise StorageUnavailable("The download took too long", timed_out=True) from error
    raise StorageUnavailable(f"The address leads on more than {MAX_REDIRECTS} times", permanent=True)


async def _once(target: Target, into: Path, most: int, headers: dict[str, str]) -> str | None:
    """One exchange; the address it leads on to, None when the file was written."""
    import httpx

    parts = urlsplit(target.url)
    ip = f"[{target.ip}]" if ":" in target.ip else target.ip
    pinned = parts._replace(netloc=f"{ip}:{target.port}", fragment="").geturl()
    asked = {**headers, "host": parts.netloc, "accept-encoding": "identity", "user-agent": "microtome"}
    try:
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(30.0, connect=CONNECT_SECONDS), trust_env=False) as client,
            client.stream(
                "GET", pinned, headers=asked, extensions={"sni_hostname": target.host}, follow_redirects=False
            ) as answer,
        ):
            if answer.status_code in {301, 302, 303, 307, 308}:
                return urljoin(target.url, answer.headers.get("location", ""))
            if answer.status_code in {404, 410}:
                raise NotFound("file", name_of(target.url)[:200])
            if answer.status_code != 200:
                raise StorageUnavailable(f"{target.host} answered {answer.status_code}", permanent=True)
            if int(answer.headers.get("content-length", "0") or 0) > most:
                raise _too_large(most)
            with await asyncio.to_thread(into.open, "wb") as file:
                total = 0
                async for part in answer.aiter_raw(_PART):
                    total += len(part)
                    if total > most:
                        raise _too_large(most)
                    await asyncio.to_thread(file.write, part)
    except (httpx.HTTPError, ValueError) as error:
        raise StorageUnavailable(f"{target.host} cannot be loaded from", unreachable=True) from error
    return None


def _too_large(most: int) -> LimitExceeded:
    return LimitExceeded(f"The file is larger than {most} bytes", limit="scene_max_upload", value=most)
