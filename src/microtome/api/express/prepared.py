"""Answers that are complete but for the date, and the families that make them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from microtome.caching import Cache

Headers = Iterable[tuple[bytes, bytes]]


class Prepared(NamedTuple):
    """A 200 answer and its 304.

    ``headers`` and ``not_modified`` are exactly what the ordinary way sends for the two, in order, lower case, without
    the date. ``etag`` is quoted. ``fresh_until`` is the monotonic time in s until which the content counts as current,
    ``expires`` the unix time of the authorisation (None: for ever). ``keep``: the answer will be the same next time.
    """

    headers: Headers
    not_modified: Headers
    body: bytes
    etag: bytes
    fresh_until: float
    expires: float | None = None
    keep: bool = True


Responder = Callable[[bytes, bytes | None], Prepared | None]
"""From the target of a GET as on the request line, and the value of Origin, to an answer that needs no waiting."""


class _Ready:
    """A prepared answer as bytes for the wire, behind status line and date."""

    __slots__ = ("body", "etag", "expires", "fresh_until", "head", "not_modified")

    def __init__(self, prepared: Prepared) -> None:
        self.head = _joined(prepared.headers)
        self.not_modified = prepared.not_modified
        self.body = prepared.body
        self.etag = prepared.etag
        self.fresh_until = prepared.fresh_until
        self.expires = prepared.expires


def _joined(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _weigh(ready: _Ready) -> int:
    return 2 * len(ready.head) + len(ready.body)


class Express:
    """The express answers of one process: those kept, at most ``budget`` bytes, and those the families can give.

    ``draining`` is set while the server stops: answers then close their connection.
    """

    def __init__(
        self,
        responders: Sequence[Responder] = (),
        *,
        budget: int,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._responders = list(responders)
        self._kept: Cache[bytes | tuple[bytes, bytes], _Ready] = Cache(budget, weigh=_weigh, overhead=500)
        self._clock = clock
        self._wall = wall
        self._defaults: Sequence[tuple[bytes, bytes]] | None = None
        self._ok = self._same = b""
        self.draining = False
        self.answered = 0

    def add(self, responder: Responder) -> None:
        """Ask this family, too."""
        self._responders.append(responder)

    def answer(
        self,
        target: bytes,
        origin: bytes | None,
        if_none_match: bytes | None,
        defaults: Sequence[tuple[bytes, bytes]],
    ) -> bytes | None:
        """The whole response to a GET as bytes, or None when the ordinary way must answer.

        ``defaults`` are the headers the server puts first (the date); the list is a new one whenever they change.
        """
        key = target if origin is None else (target, origin)
        ready = self._kept.get(key)
        if ready is None or self._clock() >= ready.fresh_until:
            ready = self._ask(key, target, origin)
            if ready is None:
                return None
        elif ready.expires is not None and self._wall() // 1 > ready.expires:
            self._kept.pop(key)
            return None
        if defaults is not self._defaults:
            self._defaults = defaults
            date = _joined(defaults)
            self._ok, self._same = b"HTTP/1.1 200 OK\r\n" + date, b"HTTP/1.1 304 Not Modified\r\n" + date
        end = b"connection: close\r\n\r\n" if self.draining else b"\r\n"
        if if_none_match is None:
            self.answered += 1
            return b"".join((self._ok, ready.head, end, ready.body))
        if if_none_match == ready.etag:
            self.answered += 1
            return b"".join((self._same, _joined(ready.not_modified), end))
        return None  # several tags, weak ones, an old one: rare enough for the ordinary way

    def _ask(self, key: bytes | tuple[bytes, bytes], target: bytes, origin: bytes | None) -> _Ready | None:
        for responder in self._responders:
            prepared = responder(target, origin)
            if prepared is not None:
                ready = _Ready(prepared)
                if prepared.keep:
                    self._kept.put(key, ready)
                return ready
        self._kept.pop(key)
        return None
