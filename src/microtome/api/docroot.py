"""A folder of the operator's own pages, served at ``/`` wherever nothing of ours is.

Only files of the folder: no listings, no names that begin with a dot, no links that lead out of it, and nothing below
names that are ours whether something is there or not.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from microtome.errors import InvalidRequest

_OURS = frozenset({"admin", "browse", "docs", "static", "studies", "v3"})
"""Folders of pages that a login lets everybody see: what an operator puts there would be seen, too."""
_HEADERS = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}


def mount_docroot(app: FastAPI, folder: Path) -> None:
    """Add the pages behind all routes there are. Raises InvalidRequest when there is no such folder."""
    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise InvalidRequest("The folder of pages is not there", parameter="docroot")
    app.router.routes.append(Route("/{path:path}", _Pages(root).answer, methods=["GET"]))


class _Pages(StaticFiles):
    """Starlette's files (ETag, Range, HEAD, links resolved), with ``index.html`` for folders."""

    def __init__(self, root: Path) -> None:
        super().__init__(directory=root, html=True)

    async def answer(self, request: Request) -> Response:
        """A page of the operator's, or 404."""
        path = request.path_params["path"]
        parts = path.split("/")
        if any(part.startswith(".") for part in parts) or "\0" in path or "\\" in path:
            raise HTTPException(404)
        if next((part for part in parts if part), "") in _OURS:
            raise HTTPException(404)
        response = await self.get_response(
            self.get_path({**request.scope, "path": f"/{path}", "root_path": ""}), request.scope
        )
        if isinstance(response, RedirectResponse):  # a folder: its page is at the address with a slash
            response.headers["location"] = f"/{request.url.path.strip('/')}/"
        response.headers.update(_HEADERS)
        return response
