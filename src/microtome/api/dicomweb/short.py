"""Plain GETs of the family without the framework's routing, which takes longer than most of the answers.

The same handlers answer, found by the words of the path; everything unusual goes the ordinary way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from microtome.api.dicomweb.context import ROOT
from microtome.api.raw import raw_path

_ROOT = ROOT.encode()


class _Target(NamedTuple):
    names: tuple[str, ...]
    endpoint: Callable[[Request], Awaitable[Response]]


class ShortWay:
    """ASGI middleware. ``failed`` makes the answer to an exception, as the ordinary way would."""

    def __init__(
        self, app: ASGIApp, routes: Iterable[Route], failed: Callable[[Request, Exception], Awaitable[Response]]
    ) -> None:
        self.app = app
        self._failed = failed
        self._targets = dict(filter(None, map(_target, routes)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a GET whose path is known and has no escapes, pass everything else on."""
        asked = self._find(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if asked is None:
            await self.app(scope, receive, send)
            return
        target, values = asked
        parameters = dict(zip(target.names, values, strict=True))
        inner = {**scope, "path_params": parameters, "root_path": scope.get("root_path", "") + ROOT}
        request = Request(inner, receive)
        try:
            response = await target.endpoint(request)
        except Exception as error:  # noqa: BLE001 - which of them is answered how is the family's to say
            response = await self._failed(request, error)
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[_Target, list[str]] | None:
        raw = raw_path(scope)
        if not raw.startswith(_ROOT) or b"%" in raw:
            return None
        segments = raw.decode("latin-1").split("/")
        if segments[1] != ROOT[1:]:
            return None
        target = self._targets.get(tuple(segments[2::2]))
        values = segments[3::2]
        return None if target is None or len(values) != len(target.names) or "" in values else (target, values)


def _target(route: Route) -> tuple[tuple[str, ...], _Target] | None:
    """A route whose path is words and parameters in turn, by its words; None for others."""
    words, names = route.path.split("/")[1::2], route.path.split("/")[2::2]
    plain = all(words) and not any("{" in word for word in words)
    if not plain or not all(name.startswith("{") and ":" not in name for name in names):
        return None
    return tuple(words), _Target(tuple(name[1:-1] for name in names), route.endpoint)
