"""The web pages of the family: documentation, the way to the viewer, and the one that checks every slide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from microtome.api.docs import Docs, add_page, page_response
from microtome.api.raw import BadText, raw_path, segment
from microtome.api.wsi_v3.context import TokenPolicy, V3Context
from microtome.auth.base import Authenticator, Claim
from microtome.errors import MicrotomeError, Unauthenticated

V3 = "/v3"
_VIEWER_QUERY = "-._~!$'()*+,;=:@/?%&"
"""What a query string may hold (RFC 3986 §3.4); anything else of it is encoded."""


class Pages(Protocol):
    """The web pages; ``microtome.viewer.pages`` is one."""

    def docs_login_page(self, path: str, *, config: Mapping[str, Any]) -> str:
        """Where a login sends people back to."""
        ...

    def validation_page(self, config: Mapping[str, Any]) -> str:
        """The page that checks every slide."""
        ...

    def content_security_policy(self, frame_ancestors: str) -> str:
        """The policy the pages are written for."""
        ...


@dataclass(frozen=True, slots=True)
class PageOptions:
    """Which pages there are, and what stands in them. ``token_url`` and ``login_url`` are those of an OAuth 2 login.

    ``validation``: the page that checks every slide; ``viewer``: the way to the viewer of each. ``schema``: whether
    programs may read what the routes are, ``docs`` for people.
    """

    pages: Pages
    auth: Authenticator
    validation: bool = True
    viewer: bool = True
    schema: bool = True
    docs: Docs | None = None
    token_url: str | None = None
    login_url: str | None = None
    frame_ancestors: str = "'self'"
    root_path: str = ""
    version: str = ""

    @property
    def oauth(self) -> bool:
        """Whether people can log in from the documentation; that takes both addresses."""
        return bool(self.token_url and self.login_url)


def mount_pages(app: FastAPI, v3: FastAPI, context: V3Context, options: PageOptions) -> None:
    """Add the pages of the family, and the login to its schema.

    Call it when the other routes are in place: a path that two would answer is theirs.
    """
    found = _Pages(context, options)
    if options.schema:
        _describe_login(v3, context, options)
    if options.docs is not None:
        add_page(v3, "/docs", _documented(options.docs, options), "The documentation of the v3 routes for people")
        if options.oauth:
            add_page(v3, "/docs/oauth2-redirect", found.login, "Where a login comes back to the documentation")
    if options.viewer:
        add_page(app, "/slides/{slide_id:path}/viewer", found.viewer, "The way to the viewer of a slide of the v3 API")
    if options.validation:
        add_page(app, "/validation_viewer", found.validation, "The page that checks every slide")


def _documented(docs: Docs, options: PageOptions) -> Callable[[Request], Awaitable[Response]]:
    async def page(_: Request) -> Response:
        """Swagger UI over the schema of ``/v3``."""
        return docs.page(V3, token_url=options.token_url if options.oauth else None, login=options.oauth)

    return page


def _describe_login(v3: FastAPI, context: V3Context, options: PageOptions) -> None:
    """Tell in the schema how requests prove who they are (OpenAPI 3.1 §4.8.27)."""
    name = "bearer"
    scheme: dict[str, object] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    if options.oauth:
        scopes: dict[str, str] = {}
        flow = {"authorizationUrl": options.login_url, "tokenUrl": options.token_url, "scopes": scopes}
        name = "login"
        scheme = {"type": "oauth2", "flows": {"authorizationCode": flow}}
    elif not isinstance(context.policy, TokenPolicy):
        return
    required: list[dict[str, list[str]]] = [{name: []}]
    if not context.policy.private():
        required.append({})  # nobody needs to
    described = v3.openapi

    def openapi() -> dict[str, Any]:
        schema = described()
        schema.setdefault("components", {})["securitySchemes"] = {name: scheme}
        schema["security"] = required
        return schema

    v3.openapi = openapi


class _Pages:
    """One method for each page."""

    def __init__(self, context: V3Context, options: PageOptions) -> None:
        self._context = context
        self._options = options

    async def login(self, _: Request) -> Response:
        """Hands what a login says to the page that asked for it, and closes."""
        return self._page(self._options.pages.docs_login_page(V3, config=self._config()))

    async def validation(self, request: Request) -> Response:
        """The page is public; what it gets to see depends on the credentials it is given."""
        config = self._config(
            login=self._login(),
            query=self._credentials(request),
            thumbnail=self._context.limits.thumbnail_side,
            region=self._context.limits.region_pixels,
            viewer=self._options.viewer,
        )
        return self._page(self._options.pages.validation_page(config))

    async def viewer(self, request: Request) -> Response:
        """The viewer knows slides by where they are stored, this family by the ids of its catalogue."""
        try:
            slide_id = segment(request, "slide_id")
        except BadText as error:
            return Response(str(error), 400, media_type="text/plain")
        key = slide_id
        try:
            who = await self._context.policy.authenticate(request)
            key = (await self._context.slide(who, slide_id))[1].key
        except MicrotomeError:
            # A stranger, or no slide: the viewer says so, or knows the id by itself.
            pass
        # Without a configured base the way back up is as long as the path we were asked for.
        base = self._options.root_path or "/".join([".", *[".."] * (raw_path(request.scope).count(b"/") - 1)])
        location = f"{base}/view/{quote(key, safe='')}"
        if query := quote(request.scope["query_string"], safe=_VIEWER_QUERY):
            location += f"?{query}"
        return Response(status_code=307, headers={"location": location, "cache-control": "no-store"})

    def _login(self) -> str:
        if not self._context.policy.private():
            return "none"
        return "token" if isinstance(self._context.policy, TokenPolicy) else "signed"

    def _credentials(self, request: Request) -> str:
        """What lets the page ask for every slide, for those who came with a link that is signed."""
        if not self._options.auth.enabled:
            return ""
        try:
            grant = self._options.auth.authorise(Claim(raw_path(request.scope), request.scope["query_string"]))
        except Unauthenticated:
            return ""
        return self._options.auth.catalogue_query(grant)

    def _config(self, **more: object) -> dict[str, object]:
        return {"base": self._options.root_path, "version": self._options.version, **more}

    def _page(self, text: str) -> Response:
        policy = self._options.pages.content_security_policy(self._options.frame_ancestors)
        return page_response(text, policy, private=self._context.policy.private())
