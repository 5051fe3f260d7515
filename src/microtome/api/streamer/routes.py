"""The routes of the family. Each handler reads the request, asks the service, and shapes the answer; no more."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from hashlib import blake2b
from itertools import product
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from microtome.api import compression, conditional, errors
from microtome.api.cors import CorsMiddleware
from microtome.api.disconnect import ClientGone, unless_gone
from microtome.api.express.prepared import Express
from microtome.api.login import visible_to
from microtome.api.raw import U8, U32, U64, BadText, Query, RawRoute, raw_path, segment, whole_number
from microtome.api.streamer import documents, openapi
from microtome.api.streamer.context import Headers, StreamerContext
from microtome.api.streamer.express import ShortWay, StreamerExpress, TileRequests
from microtome.api.streamer.image import image_headers, not_modified_headers, quoted
from microtome.auth.base import PUBLIC, Grant
from microtome.dicom.overlays.service import Tile as OverlayTile
from microtome.dicom.overlays.service import Visible
from microtome.errors import CorruptData, InvalidRequest, MicrotomeError, NotFound, Unauthenticated
from microtome.formats.vector import level_of_zoom, tilejson
from microtome.model import SlideRecord, TileIndex
from microtome.pixels.options import OutputType, RenderOptions
from microtome.pixels.styles import parse_styles
from microtome.tiles.answer import ImageAnswer

_CREDENTIALS = frozenset({"sig", "exp"})
_MEDIA: dict[str, OutputType] = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
THUMBNAIL_SIDES = (64, 2048)
PAGE_LIMIT = 1000
MOST_CHOSEN = 1000

Handler = Callable[[Request], Awaitable[Response]]


def mount_streamer(app: FastAPI, context: StreamerContext, express: Express | None) -> None:
    """Add the routes, their errors, CORS and the short ways to an application; none below ASGI without ``express``.

    Errors and CORS are those of every path of the application, whichever parts of the family are served.
    """
    handlers = _Handlers(context)
    router = APIRouter(route_class=_Route)
    parts = context.parts | {openapi.ALWAYS}
    for (path, operation), method in product(openapi.OPERATIONS.items(), ("GET", "HEAD")):
        if operation.part not in parts:
            continue
        router.add_api_route(
            path,
            getattr(handlers, operation.name),
            methods=[method],
            response_class=Response,
            response_model=None,
            name=operation.name,
            operation_id=operation.name,
            summary=operation.summary,
            description=operation.description,
            responses=operation.responses(),
            openapi_extra={"parameters": operation.parameters()},
            include_in_schema=operation.documented and method == "GET",
        )
    app.router.redirect_slashes = False
    app.include_router(router)
    app.add_exception_handler(HTTPException, _plain)
    app.add_middleware(CorsMiddleware, cors=context.cors)
    if openapi.SLIDES not in parts:
        return
    requests = TileRequests(context)
    app.add_middleware(ShortWay, context=context, requests=requests)
    if express is not None:
        express.add(StreamerExpress(context, requests))


async def _plain(_: Request, error: Exception) -> Response:
    """Unknown paths and methods: a status without a body."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return Response(status_code=status, headers={"allow": "GET,HEAD"} if status == 405 else None)


class _Route(RawRoute):
    """A raw route whose handler's errors become answers of this family."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """FastAPI's handler with the error table around it."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await inner(request)
            except BadText as error:
                return Response(str(error), 400, media_type="text/plain")
            except ClientGone:
                return Response(status_code=499)
            except MicrotomeError as error:
                return errors.answer(error)
            except HTTPException:
                raise
            except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of it reaches the client
                return errors.internal(error)

        return handle

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Methods other than GET and HEAD end here, with an empty body."""
        if scope["method"] not in (self.methods or ()):
            response = await _plain(Request(scope), HTTPException(405))
            await response(scope, receive, send)
            return
        await super().handle(scope, receive, send)


def _answer(body: bytes, headers: Headers, status: int = 200) -> Response:
    response = Response(body, status)
    response.raw_headers = headers
    return response


def _visible(request: Request) -> Visible:
    async def visible(ids: Iterable[str]) -> list[str]:
        return await visible_to(request, list(ids))

    return visible


def _chosen(text: str | None) -> frozenset[int] | None:
    """Numbers of segments; None for all. Raises InvalidRequest."""
    if text is None:
        return None
    parts = text.split(",") if text else []
    if len(parts) > MOST_CHOSEN or not all(part.isascii() and part.isdigit() and len(part) <= 5 for part in parts):
        raise InvalidRequest(f"Parameter segments is up to {MOST_CHOSEN} numbers", parameter="segments")
    return frozenset(map(int, parts))


def _plane(query: Query) -> tuple[int, int]:
    """Focal plane and time point."""
    return query.number("z", U32) or 0, query.number("t", U32) or 0


class _Handlers:
    """One method for each operation of ``openapi.OPERATIONS``."""

    def __init__(self, context: StreamerContext) -> None:
        self._context = context

    # -- what requests share -----------------------------------------------------------------------------------------

    def _slide(self, request: Request) -> tuple[SlideRecord, Grant]:
        """Authorise first, so that a stranger cannot tell which slides exist."""
        slide_id = segment(request, "slide_id")
        grant = self._context.grant(raw_path(request.scope), request.scope["query_string"], slide_id)
        return self._context.catalog.resolve(slide_id), grant

    def _query(self, request: Request, *known: str) -> Query:
        query = Query.of(request.scope["query_string"], _CREDENTIALS | frozenset(known))
        if not self._context.auth.enabled:
            query.number("exp", U64)
        return query

    def _options(self, query: Query, media_type: OutputType = "image/jpeg") -> RenderOptions:
        default = self._context.default_quality
        quality = query.number("quality", U8)
        if quality is None:
            quality = default
        if not 1 <= quality <= 100:
            raise InvalidRequest(f"Quality {quality} is outside of 1-100", parameter="quality")
        icc = query.text("icc") or "none"
        if icc not in openapi.INTENTS:
            raise InvalidRequest(f"Parameter icc must be one of {', '.join(openapi.INTENTS)}", parameter="icc")
        channels = query.text("channels")
        return RenderOptions(
            media_type,
            quality,
            allow_stored=quality == default,
            intent=openapi.INTENTS[icc],
            styles=() if channels is None else parse_styles(channels),
        )

    def _image(
        self, request: Request, answer: ImageAnswer, quality: int, grant: Grant, extra: Headers | None = None
    ) -> Response:
        etag = quoted(answer.etag)
        if conditional.matches(conditional.asked(request.scope), etag):
            return _answer(b"", not_modified_headers(self._context, etag, grant), 304)
        return _answer(answer.image.data, [*image_headers(self._context, answer, quality, grant), *(extra or ())])

    def _document(
        self, request: Request, body: bytes, media_type: str, etag: str, grant: Grant, *, kept: bool
    ) -> Response:
        """A small text about a slide, with the ETag of the slide's version."""
        tag = quoted(etag)
        if conditional.matches(conditional.asked(request.scope), tag):
            return _answer(b"", [(b"etag", tag)], 304)
        headers: Headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
        if kept:
            headers.insert(1, (b"cache-control", self._context.cache_control(grant)))
        elif grant.private:
            headers.insert(1, (b"cache-control", b"private, no-cache"))
        return _answer(body, [*headers, (b"etag", tag), (b"x-content-type-options", b"nosniff")])

    # -- operations --------------------------------------------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        """Whether the server answers."""
        return _json({"status": "healthy", "version": self._context.version})

    async def tile(self, request: Request) -> Response:
        """A tile of a native level."""
        record, grant = self._slide(request)
        level = whole_number(segment(request, "level"), "level", U64)
        column = whole_number(segment(request, "x"), "x", U32)
        query = self._query(request, *openapi.LOOK)
        name = segment(request, "filename")
        try:
            row = whole_number(name.removesuffix(".jpg"), "y", U32)
        except BadText:
            raise InvalidRequest(
                f"Tile ({column}, {name[:40]}) is outside of level {level} (max: 0, 0): y must be a number",
                parameter="tile",
            ) from None
        options = self._options(query)
        index = TileIndex(level, column, row, *_plane(query))
        answer = await unless_gone(request.receive, self._tile(record, index, options))
        return self._image(request, answer, options.quality, grant)

    async def _tile(self, record: SlideRecord, index: TileIndex, options: RenderOptions) -> ImageAnswer:
        try:
            return await self._context.service.tile(record, index, options)
        except CorruptData as error:
            # The slide itself may be broken, which its facts tell, or only this tile of it.
            await self._context.service.info(record)
            raise errors.BrokenTile(error.message) from error

    async def slides(self, request: Request) -> Response:
        """A page of the catalogue."""
        self._context.grant(raw_path(request.scope), request.scope["query_string"])
        query = self._query(request, "limit", "cursor", "prefix", "search")
        limit = query.number("limit", U32)
        page = await unless_gone(
            request.receive,
            self._context.catalog.list(
                limit=min(max(100 if limit is None else limit, 1), PAGE_LIMIT),
                cursor=query.text("cursor"),
                prefix=query.text("prefix") or "",
                search=query.text("search") or "",
            ),
        )
        shown = await visible_to(request, [record.id for record in page.slides])
        body: dict[str, Any] = {"slides": shown}
        if names := {record.id: record.name for record in page.slides if record.name and record.id in shown}:
            body["names"] = names
        if page.next_cursor is not None:
            body["next_cursor"] = page.next_cursor
        return _json(body)

    async def slide(self, request: Request) -> Response:
        """The facts of a slide."""
        record, grant = self._slide(request)
        info, version = await unless_gone(request.receive, self._context.service.versioned_info(record))
        body = _encoded(self._context.pages.describe(record.id, info))
        return self._document(request, body, "application/json", version, grant, kept=False)

    async def dzi(self, request: Request) -> Response:
        """The Deep Zoom descriptor."""
        record, grant = self._slide(request)
        info, version = await unless_gone(request.receive, self._context.service.versioned_info(record))
        level = info.levels[0]
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008"\n'
            f'       TileSize={quoteattr(str(level.tile_size.width))}\n       Overlap="0"\n       Format="jpg">\n'
            f'  <Size Width="{level.size.width}" Height="{level.size.height}" />\n</Image>'
        )
        return self._document(request, body.encode(), "application/xml", f"{version}-dzi", grant, kept=True)

    async def dzi_tile(self, request: Request) -> Response:
        """A tile of the Deep Zoom pyramid."""
        record, grant = self._slide(request)
        level = whole_number(segment(request, "level"), "level", U32)
        place, dot, suffix = segment(request, "filename").rpartition(".")
        column, underscore, row = place.partition("_")
        query = self._query(request, *openapi.LOOK)
        if not dot or not underscore or suffix not in _MEDIA:
            raise NotFound("tile", segment(request, "filename")[:100])
        options = self._options(query, _MEDIA[suffix])
        place_of_tile = level, whole_number(column, "column", U32), whole_number(row, "row", U32)
        index = TileIndex(*place_of_tile, *_plane(query))
        answer = await unless_gone(request.receive, self._context.service.deep_zoom_tile(record, index, options))
        return self._image(request, answer, options.quality, grant)

    async def thumbnail(self, request: Request) -> Response:
        """The whole slide in one picture."""
        record, grant = self._slide(request)
        query = self._query(request, "max_size", *openapi.LOOK)
        asked = query.number("max_size", U32)
        low, high = THUMBNAIL_SIDES
        asked = 512 if asked is None else asked
        used = min(max(asked, low), high)
        options = self._options(query)
        answer = await unless_gone(
            request.receive, self._context.service.thumbnail(record, used, options, _plane(query))
        )
        clamped: Headers = [
            (b"x-thumbnail-size-clamped", b"true"),
            (b"x-thumbnail-requested-size", b"%d" % asked),
            (b"x-thumbnail-actual-size", b"%d" % used),
        ]
        return self._image(request, answer, options.quality, grant, clamped if used != asked else None)

    async def associated(self, request: Request) -> Response:
        """Label, macro or the stored thumbnail."""
        record, grant = self._slide(request)
        query = self._query(request, "quality", "icc")
        options = self._options(query)
        name = segment(request, "name")
        answer = await unless_gone(request.receive, self._context.service.associated(record, name, options))
        return self._image(request, answer, options.quality, grant)

    async def channels(self, request: Request) -> Response:
        """The channels of a slide: how they look best, and their histograms."""
        record, grant = self._slide(request)
        info, looks, version = await unless_gone(request.receive, self._context.service.looks(record))
        body = _encoded(documents.channels(info, looks))
        return self._document(request, body, "application/json", f"{version}-channels", grant, kept=True)

    async def tilejson(self, request: Request) -> Response:
        """TileJSON of a set of vector tiles."""
        record, grant = self._slide(request)
        info, version = await unless_gone(request.receive, self._context.service.versioned_info(record))
        if info.channels:
            raise NotFound("vector tiles of slide", record.id)
        place = f"{self._context.root_path}/slides/{quote(record.id, safe='')}/vector/{{z}}/{{x}}/{{y}}.mvt"
        body = _encoded(tilejson(info, place))
        return self._document(request, body, "application/json", f"{version}-tilejson", grant, kept=True)

    async def vector_tile(self, request: Request) -> Response:
        """A vector tile, as it is stored."""
        record, grant = self._slide(request)
        zoom, column = (whole_number(segment(request, name), name, U32) for name in ("zoom", "x"))
        name = segment(request, "filename")
        row = whole_number(name.partition(".")[0], "y", U32)
        self._query(request)

        async def work() -> ImageAnswer:
            info = await self._context.service.info(record)
            level = None if info.channels else level_of_zoom(info, zoom)
            if level is None:
                raise NotFound("zoom", f"{zoom} of {record.id}")
            return await self._context.service.tile(record, TileIndex(level, column, row), RenderOptions())

        answer = await unless_gone(request.receive, work())
        payload = compression.payload(answer.image, request.headers.get("accept-encoding", ""))
        tag = quoted(answer.etag + payload.suffix)
        if conditional.matches(conditional.asked(request.scope), tag):
            return _answer(b"", not_modified_headers(self._context, tag, grant), 304)
        headers: Headers = [
            (b"content-type", answer.image.media_type.encode()),
            (b"cache-control", self._context.cache_control(grant)),
            (b"etag", tag),
            (b"vary", b"accept-encoding"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-length", b"%d" % len(payload.data)),
        ]
        return _answer(payload.data, headers + ([(b"content-encoding", b"gzip")] if payload.suffix else []))

    async def overlays(self, request: Request) -> Response:
        """What was marked on a slide."""
        record, grant = self._slide(request)
        self._query(request)
        service = self._context.overlays
        found = await unless_gone(request.receive, service.of(record.id, _visible(request))) if service else ()
        body = _encoded({"overlays": [each.told() for each in found]})
        tag = blake2b(body, digest_size=16).hexdigest()
        return self._document(request, body, "application/json", tag, grant, kept=False)

    async def overlay_tile(self, request: Request) -> Response:
        """A tile of annotations or segments."""
        record, grant = self._slide(request)
        level, column = (whole_number(segment(request, name), name, U32) for name in ("level", "x"))
        place, _, suffix = segment(request, "filename").partition(".")
        row = whole_number(place, "y", U32)
        chosen = _chosen(self._query(request, "segments").text("segments"))
        uid = segment(request, "overlay_id")
        if suffix not in {"mvt", "png"} or self._context.overlays is None:
            raise NotFound("overlay", uid[:64])
        service = self._context.overlays

        async def work() -> OverlayTile:
            overlay = await service.one(record.id, uid, _visible(request))
            if suffix == "mvt":
                return await service.shapes(overlay, level, column, row)
            info = await self._context.service.info(record)
            return await service.labels(overlay, info, level, column, row, chosen)

        tile = await unless_gone(request.receive, work())
        return self._document(request, tile.data, tile.media_type, tile.etag, grant, kept=True)

    async def icc(self, request: Request) -> Response:
        """The ICC profile as stored."""
        record, grant = self._slide(request)
        info, version = await unless_gone(request.receive, self._context.service.versioned_info(record))
        if info.icc_profile is None:
            raise NotFound("ICC profile of slide", record.id)
        media_type = "application/vnd.iccprofile"
        return self._document(request, info.icc_profile, media_type, f"{version}-icc", grant, kept=True)

    # -- pages -------------------------------------------------------------------------------------------------------

    async def view(self, request: Request) -> Response:
        """The viewer of a slide."""
        slide_id = segment(request, "slide_id")
        grant = PUBLIC
        try:
            if openapi.SLIDES not in self._context.parts:
                raise NotFound("page", "", "This server shows no slides: whoever runs it has switched slides_api off")
            if self._context.auth.enabled and not self._context.public_view:
                grant = self._context.grant(raw_path(request.scope), request.scope["query_string"], slide_id)
            record = self._context.catalog.resolve(slide_id)
            info = await unless_gone(request.receive, self._context.service.info(record))
        except MicrotomeError as error:
            if not _wants_page(request):
                raise
            found = errors.wire(error)
            title = "This link is not valid" if isinstance(error, Unauthenticated) else "This slide cannot be shown"
            page = self._context.pages.error_page(found.status, title, error.message, config=self._config(""))
            return self._page(page, found.status)
        config = self._config(self._context.auth.slide_query(slide_id, grant))
        return self._page(self._context.pages.slide_page(slide_id, info, config=config))

    async def catalogue(self, request: Request) -> Response:
        """The catalogue. Its page is public; what it may list depends on the credentials in its address."""
        query = ""
        if self._context.auth.enabled:
            try:
                grant = self._context.grant(raw_path(request.scope), request.scope["query_string"])
                query = self._context.auth.catalogue_query(grant)
            except Unauthenticated:
                query = ""
        config: dict[str, Any] = self._config(query)
        if openapi.SLIDES not in self._context.parts:
            config["elsewhere"] = self._context.elsewhere
        return self._page(self._context.pages.catalogue_page(config))

    async def static(self, request: Request) -> Response:
        """A file that a page loads."""
        file = self._context.pages.static_files().get(raw_path(request.scope).decode("latin-1"))
        if file is None:
            raise HTTPException(404)
        etag = file.etag.encode()
        headers: Headers = [(b"cache-control", b"public, no-cache"), (b"etag", etag)]
        if conditional.matches(conditional.asked(request.scope), etag):
            return _answer(b"", headers, 304)
        described: Headers = [
            (b"content-type", file.media_type.encode()),
            (b"content-length", b"%d" % len(file.body)),
            (b"x-content-type-options", b"nosniff"),
        ]
        return _answer(file.body, [*described, *headers])

    def _config(self, query: str) -> dict[str, str]:
        return {"base": self._context.root_path, "query": query, "version": self._context.version}

    def _page(self, text: str, status: int = 200) -> Response:
        body = text.encode("utf-8", "replace")
        policy = self._context.pages.content_security_policy(self._context.frame_ancestors)
        headers: Headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"content-security-policy", policy.encode()),
            (b"referrer-policy", b"same-origin"),
            (b"x-content-type-options", b"nosniff"),
        ]
        if self._context.private:
            headers.append((b"cache-control", b"private, no-store"))
        return _answer(body, headers, status)


def _encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def _json(value: dict[str, Any]) -> Response:
    body = _encoded(value)
    return _answer(body, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))])


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")
