"""Who may talk to the scene at all: right host, no page of a stranger, and the credentials of the other families.

A browser sends requests to this machine for whatever page it shows: a form or a picture of any web site could change
the scene, and a name that its owner points here later (DNS rebinding) makes its pages look like ours. So the Host must
be one of ours, and what a page of another origin asks for is refused, whatever its method, unless the operator named
that origin or the request carries the token. Programs send none of these headers and are not concerned.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from microtome.api.cors import Cors
from microtome.api.forwarded import is_host
from microtome.api.raw import raw_path
from microtome.auth.base import Authenticator, Claim
from microtome.errors import Forbidden, MicrotomeError, Unauthenticated

TOKEN = "microtome.scene_token"  # noqa: S105 - a key of the scope
"""Where, in the scope, it is said whether a request came with the token."""
METHODS = "GET,HEAD,POST,PUT,DELETE,OPTIONS"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OURS = frozenset({"same-origin", "none"})


class Guard:
    """Admits requests.

    ``names``: hosts that are ours besides localhost and every address. ``origins``: pages that may use the scene.
    ``token``: who has it may come from anywhere. ``auth``: signed URLs, where the other families want them; then
    requests that are no GET need the token, for a signature says nothing of the method. ``login``: there is one before
    this, to which the header Authorization belongs; the token comes as X-Scene-Token then.
    """

    def __init__(
        self,
        auth: Authenticator,
        *,
        names: Iterable[str] = (),
        origins: Iterable[str] = (),
        token: str | None = None,
        login: bool = False,
    ) -> None:
        self._login = login
        self._auth = auth
        self._names = {name.lower() for name in names} | {"localhost"}
        self._origins = {origin.lower().rstrip("/") for origin in origins}
        self._token = None if token is None else token.encode()

    def admit(self, scope: Scope) -> bool:
        """Let a request in: whether it came with the token.

        Raises Forbidden for strangers' hosts and pages, Unauthenticated for a wrong token and missing signatures.
        """
        headers = Headers(scope=scope)
        host = self._host(headers)
        known = self._knows(headers)
        if not known:
            self._check_page(headers, host)
            self._check_signature(scope)
        return known

    def _host(self, headers: Headers) -> str:
        host = headers.get("host", "").lower()
        name = urlsplit(f"//{host}").hostname if is_host(host) else None
        if name is None or not (name.rstrip(".") in self._names or _is_address(name)):
            raise Forbidden(
                "The scene does not know itself by this name; the operator adds it with --scene-names, or clients use"
                " localhost or the address"
            )
        return host

    def _knows(self, headers: Headers) -> bool:
        """Whether the token is there. Raises Unauthenticated for another one."""
        given = headers.get("x-scene-token")
        if given is None and not self._login:
            scheme, _, bearer = headers.get("authorization", "").partition(" ")
            given = bearer.strip() if scheme.lower() == "bearer" else None
        if given is None:
            return False
        if self._token is None or not hmac.compare_digest(given.encode(), self._token):
            raise Unauthenticated("The token is wrong", reason="invalid_token", challenge="Bearer")
        return True

    def _check_page(self, headers: Headers, host: str) -> None:
        """A page that is neither ours nor named asks for nothing here."""
        page = headers.get("origin")
        if page is None and headers.get("sec-fetch-site", "none") in _OURS:
            # Browsers that tell no site (before 2023) tell the page, if anything.
            page = None if "sec-fetch-site" in headers else headers.get("referer")
            if page is None:
                return
        try:
            address = urlsplit(page or headers.get("referer", ""))
        except ValueError:
            address = urlsplit("")  # no page has such an address
        if address.netloc.lower() == host and headers.get("sec-fetch-site", "none") in _OURS:
            return
        if f"{address.scheme}://{address.netloc}".lower() not in self._origins:
            raise Forbidden(
                "Pages of other sites may not use the scene: name their origin with --scene-origins, or send the token"
            )

    def _check_signature(self, scope: Scope) -> None:
        if not self._auth.enabled:
            return
        if scope.get("method", "GET") not in _SAFE:
            raise Unauthenticated(
                "Where URLs are signed, changes need the token of the scene: a signature covers no method",
                reason="missing_token",
                challenge="Bearer",
            )
        # What is signed is the whole path, of which the mounted application has only the end.
        whole = {**scope, "root_path": scope.get("app_root_path", scope.get("root_path", ""))}
        self._auth.authorise(Claim(raw_path(whole), scope["query_string"]))


class Door:
    """ASGI middleware: the guard, and CORS for the origins it knows. ``refused`` makes answers of the family."""

    def __init__(
        self, app: ASGIApp, guard: Guard, cors: Cors, refused: Callable[[MicrotomeError], Awaitable[Response]]
    ) -> None:
        self._app = app
        self._guard = guard
        self._cors = cors
        self._refused = refused
        self.routes: Sequence[BaseRoute] = getattr(app, "routes", ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on who may come in."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope)
        origin = sent.get("origin")
        headers = self._cors.wide_headers_for(None if origin is None else origin.encode("latin-1"))

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers, (b"x-content-type-options", b"nosniff")]
            await send(message)

        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            response = Response(status_code=204, headers={"allow": METHODS})
            if "access-control-request-method" in sent:
                response.raw_headers += self._cors.preflight(dict(scope["headers"]), METHODS.encode())
            await response(scope, receive, told)
            return
        try:
            known = self._guard.admit(scope)
        except MicrotomeError as error:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 4403, "reason": error.message[:100]})
                return
            response = await self._refused(error)
            await response(scope, receive, told)
            return
        await self._app({**scope, TOKEN: known}, receive, told)


def _is_address(name: str) -> bool:
    """An address cannot be pointed elsewhere afterwards."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
