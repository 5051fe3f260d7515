"""``/docs``: the documentation of the routes for people, Swagger UI over the schema of an application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from microtome.api.raw import RawRoute


class Pages(Protocol):
    """What is needed of ``microtome.viewer.pages``."""

    def docs_page(self, path: str, title: str, *, config: Mapping[str, Any]) -> str:
        """The documentation of the application at ``path``."""
        ...

    def docs_content_security_policy(self, frame_ancestors: str, token_url: str | None) -> str:
        """The policy of the documentation."""
        ...


@dataclass(frozen=True, slots=True)
class Docs:
    """The pages. ``applications``: path and title of each that has one. ``private``: nobody else may keep them."""

    pages: Pages
    title: str
    applications: tuple[tuple[str, str], ...]
    frame_ancestors: str = "'self'"
    root_path: str = ""
    version: str = ""
    private: bool = False

    def page(self, path: str, *, token_url: str | None = None, login: bool = False) -> Response:
        """The page of the application at ``path``. ``login``: people can log in there, for tokens of ``token_url``."""
        config = {"base": self.root_path, "version": self.version, "others": self.applications, "login": login}
        text = self.pages.docs_page(path, self.title, config=config)
        policy = self.pages.docs_content_security_policy(self.frame_ancestors, token_url)
        return page_response(text, policy, private=self.private)


def mount_docs(app: FastAPI, docs: Docs) -> None:
    """Add ``/docs``."""

    async def page(_: Request) -> Response:
        """Swagger UI over the schema of the root."""
        return docs.page("")

    add_page(app, "/docs", page, "The documentation of the routes for people")


def page_response(text: str, policy: str, *, private: bool) -> Response:
    """A page under its Content-Security-Policy."""
    headers = {
        "content-security-policy": policy,
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-store" if private else "no-cache",
    }
    return Response(text.encode("utf-8", "replace"), headers=headers, media_type="text/html")


def add_page(app: FastAPI, path: str, endpoint: Callable[[Request], Awaitable[Response]], summary: str) -> None:
    """Add a page for GET and HEAD, which the schema does not tell of."""
    # Ids are read as they were sent: %2F in one is no end of a segment.
    router = APIRouter(route_class=RawRoute if "{" in path else APIRoute)
    for method in ("GET", "HEAD"):
        router.add_api_route(
            path,
            endpoint,
            methods=[method],
            response_class=Response,
            response_model=None,
            summary=summary,
            include_in_schema=False,
        )
    app.include_router(router)
