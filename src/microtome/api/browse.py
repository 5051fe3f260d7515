"""``/browse/``: OHIF's files, when they are installed, else a sentence on how to install them."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

_TYPES = {".wasm": "application/wasm", ".js": "text/javascript", ".mjs": "text/javascript", ".woff2": "font/woff2"}
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    # A build's files carry hashes in their names, but not all of them: browsers ask, and mostly hear 304.
    "cache-control": "no-cache",
}
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob:; worker-src 'self'"
    " blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'"
    " data: blob:; base-uri 'none'; form-action 'self'; frame-ancestors {ancestors}"
)
"""What OHIF needs, and nothing from other hosts."""


def mount_browse(app: FastAPI, folder: Path | None, missing: str, *, frame_ancestors: str = "'self'") -> None:
    """Serve ``folder`` under ``/browse/``; without one (None) the page ``missing`` (HTML) with status 404."""
    policy = _POLICY.format(ancestors=frame_ancestors)
    files = {} if folder is None else _listed(folder)

    async def browse(request: Request) -> Response:
        if folder is None:
            return Response(missing, 404, _HEADERS, "text/html; charset=utf-8")
        name = request.path_params["path"]
        headers = {**_HEADERS, "content-security-policy": policy}
        found = files.get(name)
        if found is None and "." in name.rpartition("/")[2]:
            return Response(status_code=404, headers=_HEADERS)
        # Paths without a suffix are places within the application.
        found = found or folder / "index.html"
        return FileResponse(found, headers=headers, media_type=_media_type(found))

    async def to_slash(request: Request) -> Response:
        query = request.url.query
        root = request.scope.get("root_path", "")
        return RedirectResponse(f"{root}/browse/{'?' + query if query else ''}", 308)

    app.router.routes.insert(0, Route("/browse", to_slash, methods=["GET", "HEAD"]))
    app.router.routes.insert(0, Route("/browse/{path:path}", browse, methods=["GET", "HEAD"]))


def _listed(folder: Path) -> dict[str, Path]:
    """Only what was there at the start is served: no path of a request is ever joined to a folder."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _media_type(path: Path) -> str:
    return _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
