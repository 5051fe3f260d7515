"""Pages over DICOM: ``/browse/`` is OHIF once it is installed, ``/studies`` our own, ``/admin/dicom`` what is broken.

The pages hold nothing of any study: they ask DICOMweb, with the credentials a person gives them.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from microtome.api import conditional, errors
from microtome.api.compression import compressed, preferred
from microtome.api.login import check_admin, visible_to
from microtome.api.raw import raw_path
from microtome.auth.base import Authenticator, Claim, Grant
from microtome.dicom import dictionary
from microtome.dicom.index.base import Index, Problem, State
from microtome.dicom.rows import InstanceRow
from microtome.dicom.slides import slide_key
from microtome.errors import InvalidRequest, MicrotomeError, NotFound, Unauthenticated
from microtome.tiles.answer import key_of

KINDS = {
    "broken": State.BROKEN,
    "duplicate": State.DUPLICATE,
    "other": State.OTHER,
    "noted": State.INDEXED,
}
"""Kinds by the word of the query: not served, served from another file, no instance, served all the same."""
MOST_PROBLEMS = 1000
_LOOKED_AT = 20_000
"""Files that one request looks through for those of a kind; its answer says where to go on."""

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

Handler = Callable[[Request], Awaitable[Response]]


class Pages(Protocol):
    """What is needed of ``microtome.viewer.pages``."""

    def studies_page(self, *, config: Mapping[str, Any]) -> str:
        """Studies, series, slices."""
        ...

    def problems_page(self, *, config: Mapping[str, Any]) -> str:
        """Files that are not served."""
        ...

    def content_security_policy(self, frame_ancestors: str = "'self'") -> str:
        """The policy of both."""
        ...


@dataclass(frozen=True, slots=True)
class BrowseContext:
    """``ohif`` is the folder of OHIF's files, None when it is not installed; ``missing`` says how to get it.

    ``slide_of`` finds the slide that instances belong to, by its id. ``admins``: subjects of those who may see what is
    broken where there is a login (``private``).
    """

    index: Index
    auth: Authenticator
    pages: Pages
    slide_of: Callable[[Sequence[InstanceRow]], Awaitable[str | None]]
    ohif: Path | None = None
    missing: str = ""
    admins: frozenset[str] = frozenset()
    private: bool = False
    frame_ancestors: str = "'self'"
    root_path: str = ""
    version: str = ""


def mount_browse(app: FastAPI, context: BrowseContext) -> None:
    """Add the pages to an application."""
    found = _Browse(context)
    routes: list[tuple[str, Handler]] = [
        ("/browse", found.to_slash),
        ("/browse/{path:path}", found.browse),
        ("/studies", found.studies),
        ("/studies/names.json", found.names),
        ("/studies/slide", found.slide),
        ("/admin/dicom", found.admin),
        ("/admin/dicom/problems", found.problems),
    ]
    for path, handler in routes:
        app.router.routes.insert(0, Route(path, handler, methods=["GET"]))


class _Browse:
    """One method for each path."""

    def __init__(self, context: BrowseContext) -> None:
        self._context = context
        self._files = {} if context.ohif is None else _listed(context.ohif)
        self._policy = _POLICY.format(ancestors=context.frame_ancestors)

    async def to_slash(self, request: Request) -> Response:
        """``/browse`` is a folder."""
        query = request.url.query
        root = request.scope.get("root_path", "")
        return RedirectResponse(f"{root}/browse/{'?' + query if query else ''}", 308)

    async def browse(self, request: Request) -> Response:
        """OHIF's files; our own page where there is no OHIF, or where it could not prove who is looking."""
        context = self._context
        name = request.path_params["path"]
        found = self._files.get(name)
        if found is None and "." in name.rpartition("/")[2]:
            return Response(status_code=404, headers=_HEADERS)
        # Paths without a suffix are places within the application.
        if context.ohif is None:
            return self._studies(request, context.missing)
        page = found is None or found.suffix == ".html"
        if page and (context.auth.enabled or (context.private and "authorization" not in request.headers)):
            return self._studies(request, "OHIF cannot prove who you are to this server; this page can.")
        found = found or context.ohif / "index.html"
        headers = {**_HEADERS, "content-security-policy": self._policy}
        return FileResponse(found, headers=headers, media_type=_media_type(found))

    async def studies(self, request: Request) -> Response:
        """Our own page."""
        return self._studies(request, "")

    async def names(self, request: Request) -> Response:
        """Names of attributes by tag."""
        body, etag = _names()
        coding = preferred(request.headers.get("accept-encoding", ""))
        etag = f'"{etag}-{coding}"'
        headers = {"etag": etag, "cache-control": "public, max-age=86400", "vary": "accept-encoding"}
        if conditional.matches(conditional.asked(request.scope), etag.encode()):
            return Response(status_code=304, headers=headers)
        sent = compressed(body, coding, level=6)
        if sent.suffix:
            headers["content-encoding"] = coding
        return Response(sent.data, headers=headers, media_type="application/json")

    async def slide(self, request: Request) -> Response:
        """The id of the slide that a series is, ``{"slide_id": null}`` when it is none."""
        try:
            self._grant(request)
            study, series = (request.query_params.get(name, "") for name in ("study", "series"))
            rows = await self._context.index.instances(study, series)
            keys = sorted({slide_key(row.key) for row in rows})
            if len(await visible_to(request, keys)) != len(keys):
                raise NotFound("series", series)
            return _json({"slide_id": await self._context.slide_of(rows)})
        except MicrotomeError as error:
            return _refusal(error)

    async def admin(self, request: Request) -> Response:
        """The page of what is broken."""
        context = self._context
        return self._page(context.pages.problems_page(config=self._config(request)))

    async def problems(self, request: Request) -> Response:
        """A page of the list: totals, problems in order of their keys, and where the next page begins.

        Parameters: ``limit`` 1 to 1000, ``cursor`` as given before, ``kind`` one of ``KINDS``; without it those that
        are not served.
        """
        try:
            self._grant(request)
            if self._context.private:  # names of files can tell of people
                check_admin(request, self._context.admins)
            query = request.query_params
            kind, limit = query.get("kind", ""), query.get("limit", "100")
            if kind and kind not in KINDS:
                raise InvalidRequest(f"kind is one of {', '.join(KINDS)}", parameter="kind")
            if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= MOST_PROBLEMS:
                raise InvalidRequest(f"limit is a number from 1 to {MOST_PROBLEMS}", parameter="limit")
            found, cursor = await self._found(KINDS.get(kind), int(limit), query.get("cursor", ""))
            totals = await self._context.index.totals()
        except MicrotomeError as error:
            return _refusal(error)
        words = {state: word for word, state in KINDS.items()}
        return _json(
            {
                "totals": {
                    "studies": totals.studies,
                    "series": totals.series,
                    "instances": totals.instances,
                    "files": totals.files,
                    "problems": totals.problems,
                    "bytes": totals.stored_bytes,
                },
                "problems": [
                    {"key": each.key, "kind": words[each.state], "reason": each.reason, "bytes": each.size}
                    for each in found
                ],
                "next_cursor": cursor,
            }
        )

    async def _found(self, state: State | None, limit: int, cursor: str) -> tuple[list[Problem], str | None]:
        found: list[Problem] = []
        looked_at = 0
        while looked_at < _LOOKED_AT:
            page = await self._context.index.problems(MOST_PROBLEMS, cursor, others=state is not None)
            for number, each in enumerate(page, 1):
                cursor = each.key
                if each.state in KINDS.values() and state in {None, each.state}:
                    found.append(each)
                if len(found) == limit:
                    return found, cursor if number < len(page) or len(page) == MOST_PROBLEMS else None
            if len(page) < MOST_PROBLEMS:
                return found, None
            looked_at += len(page)
        return found, cursor

    def _grant(self, request: Request) -> Grant:
        return self._context.auth.authorise(Claim(raw_path(request.scope), request.scope["query_string"]))

    def _studies(self, request: Request, notice: str) -> Response:
        config = {**self._config(request), "notice": notice}
        return self._page(self._context.pages.studies_page(config=config))

    def _config(self, request: Request) -> dict[str, Any]:
        context = self._context
        query, login = "", "token" if context.private else "none"
        if context.auth.enabled:
            login = "signed"
            try:
                query = context.auth.catalogue_query(self._grant(request))
            except Unauthenticated:
                query = ""  # the page is public; what it lists depends on the credentials in its address
        return {
            "base": context.root_path,
            "up": "/".join([".", *[".."] * (raw_path(request.scope).count(b"/") - 1)]),
            "query": query,
            "version": context.version,
            "login": login,
            "ohif": context.ohif is not None and not context.auth.enabled,
        }

    def _page(self, text: str) -> Response:
        context = self._context
        headers = {
            "content-security-policy": context.pages.content_security_policy(context.frame_ancestors),
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
            "cache-control": "private, no-store" if context.private or context.auth.enabled else "no-cache",
        }
        return Response(text.encode("utf-8", "replace"), 200, headers, "text/html; charset=utf-8")


@cache
def _names() -> tuple[bytes, str]:
    """Names by tag as JSON, and their ETag."""
    body = orjson.dumps(dictionary.names())
    return body, key_of(body.decode())


def _json(value: object) -> Response:
    headers = {"cache-control": "private, no-store", "x-content-type-options": "nosniff"}
    return Response(orjson.dumps(value), headers=headers, media_type="application/json")


def _refusal(error: MicrotomeError) -> Response:
    response = errors.answer(error)
    if isinstance(error, Unauthenticated):
        response.headers["www-authenticate"] = error.challenge or "Bearer"
    return response


def _listed(folder: Path) -> dict[str, Path]:
    """Only what was there at the start is served: no path of a request is ever joined to a folder."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _media_type(path: Path) -> str:
    return _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
