"""``/v3/slides/...``: one slide, named by ``slide_id``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from microtome.api.disconnect import unless_gone
from microtome.api.wsi_v3 import answers, documents, openapi
from microtome.api.wsi_v3.context import V3Context
from microtome.api.wsi_v3.errors import NotProvided
from microtome.api.wsi_v3.parameters import (
    ColourOf,
    EncodingOf,
    Level,
    Plugin,
    Principal,
    Side,
    SlideId,
    ViewOf,
    options,
)
from microtome.catalog.base import MappedSlide
from microtome.errors import InvalidRequest, LimitExceeded, MicrotomeError, NotFound
from microtome.model import Rectangle, Size, SlideRecord, TileIndex
from microtome.pixels.picture import PictureOptions
from microtome.tiles.answer import ImageAnswer, key_of
from microtome.tiles.pictures import OpenedInfo

REGION = "/region/level/{level}/start/{start_x}/{start_y}/size/{size_x}/{size_y}"
TILE = "/tile/level/{level}/tile/{tile_x}/{tile_y}"
Positive = Annotated[int, Path(gt=0, description="Width or height in px of the level")]
Start = Annotated[int, Path(description="Left or upper edge in px of the level; may be negative")]
Column = Annotated[int, Path(description="Column or row of the tile, from 0")]
Largest = Annotated[int, Path(ge=1, description="Largest width or height in px")]


@dataclass(frozen=True, slots=True)
class Target:
    """Who asks for which slide, read by which format (None: by the first that can)."""

    principal: Any
    slide_id: str
    plugin: str | None


async def target_of(who: Principal, slide_id: SlideId, plugin: Plugin = None) -> Target:
    """Who is asked first: strangers learn nothing about parameters."""
    return Target(who, slide_id, plugin or None)


TargetOf = Annotated[Target, Depends(target_of)]


class Slides:
    """The operations on one slide, by the id it has in the catalogue. Routes and batches call them alike."""

    def __init__(self, context: V3Context) -> None:
        self.context = context

    async def opened(self, target: Target) -> tuple[OpenedInfo, dict[str, Any]]:
        """The facts of a slide, and their JSON."""
        record, mapped = await self._record(target)
        found = await self.context.pictures.info(record)
        name = mapped.key.rstrip("/").rsplit("/", 1)[-1]
        folder = found.version.startswith("folder-")
        body = documents.slide_info(target.slide_id, found.info, file_name=name, folder=folder, plugin=found.format)
        return found, body

    async def tile(self, target: Target, index: TileIndex, asked: PictureOptions) -> ImageAnswer:
        """A tile."""
        record, _ = await self._record(target)
        if asked.pad and not (await self.context.pictures.info(record)).info.channels:
            asked = replace(asked, pad=False)  # vectors have no padding
        try:
            return await self.context.pictures.tile(record, index, asked)
        except InvalidRequest as error:
            raise await self._worded(record, index, error) from error
        except NotFound as error:
            if error.what != "tile":
                raise
            raise Missing("Tile does not exist.") from error

    async def thumbnail(self, target: Target, largest: Size, asked: PictureOptions) -> ImageAnswer:
        """The whole slide within ``largest``."""
        record = await self._raster(target, "Thumbnail")
        return await self.context.pictures.thumbnail(record, largest, asked)

    async def associated(self, target: Target, name: str, largest: Size, asked: PictureOptions) -> ImageAnswer:
        """Label or macro within ``largest``."""
        record, _ = await self._record(target)
        try:
            return await self.context.pictures.associated(record, name, largest, asked)
        except NotFound as error:
            if error.what != "associated image":
                raise
            raise Missing(f"Associated image {name} does not exist.") from error

    async def profile(self, target: Target) -> tuple[bytes, str]:
        """The ICC profile and its ETag; nothing for vector sets, which have no colours."""
        record, _ = await self._record(target)
        found = await self.context.pictures.info(record)
        if found.info.icc_profile is None and found.info.channels:
            raise Missing("ICC Profile not available.")
        return found.info.icc_profile or b"", key_of(f"{record.handle}\0{found.version}\0icc")

    async def region(
        self, target: Target, index: TileIndex, rectangle: Rectangle, asked: PictureOptions
    ) -> ImageAnswer:
        """A rectangle of a level."""
        limit = self.context.limits.region_pixels
        if rectangle.width * rectangle.height > limit:
            raise LimitExceeded(
                f"Requested region may not contain more than {limit} pixels.", limit="max_region_pixels"
            )
        record = await self._raster(target, "Region")
        try:
            return await self.context.pictures.region(record, index, rectangle, asked)
        except InvalidRequest as error:
            raise await self._worded(record, index, error) from error

    async def _record(self, target: Target) -> tuple[SlideRecord, MappedSlide]:
        return await self.context.slide(target.principal, target.slide_id, target.plugin)

    async def _worded(self, record: SlideRecord, index: TileIndex, error: InvalidRequest) -> MicrotomeError:
        """The error in the words that clients know."""
        info = (await self.context.pictures.info(record)).info
        match error.parameter:
            case "level":
                text = (
                    "The requested pyramid level is not available."
                    f" The coarsest available level is {len(info.levels) - 1}."
                )
            case "z" if info.focal_planes == 1:
                text = f"Invalid ZStackQuery z={index.z}. The image does not support multiple z-layers."
            case "z":
                text = f"Invalid ZStackQuery z={index.z}. The image has only {info.focal_planes} z-layers."
            case "tile" if not info.channels:
                return Missing("Tile does not exist.")
            case _:
                return error
        return InvalidRequest(text, parameter=error.parameter)

    async def _raster(self, target: Target, what: str) -> SlideRecord:
        record, _ = await self._record(target)
        if not (await self.context.pictures.info(record)).info.channels:
            raise NotProvided(f"{what} is not supported for vector tile datasets.")
        return record


class Missing(NotFound):
    """A part of a slide that does not exist, in the words that clients know."""

    def __init__(self, message: str) -> None:
        super().__init__("part", message)
        self.args = (message,)
        self.message = message


async def thumbnail_size(max_x: Largest, max_y: Largest) -> Size:
    """Both sides."""
    return Size(max_x, max_y)


async def associated_size(max_x: Side, max_y: Side) -> Size:
    """Both sides."""
    return Size(max_x, max_y)


async def place_of(
    level: Level, start_x: Start, start_y: Start, size_x: Positive, size_y: Positive
) -> tuple[int, Rectangle]:
    """Level and rectangle of a region; it may begin outside of the slide."""
    return level, Rectangle(start_x, start_y, size_x, size_y)


async def tile_of(level: Level, tile_x: Column, tile_y: Column) -> TileIndex:
    """Level, column and row of a tile."""
    return TileIndex(level, tile_x, tile_y)


ThumbnailSize = Annotated[Size, Depends(thumbnail_size)]
AssociatedSize = Annotated[Size, Depends(associated_size)]
Place = Annotated[tuple[int, Rectangle], Depends(place_of)]
TileOf = Annotated[TileIndex, Depends(tile_of)]


def router(context: V3Context) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/slides", tags=["slides"])
    slides = Slides(context)

    @routes.get(
        "/info",
        **openapi.operation(
            "The facts of a slide",
            openapi.INFO,
            "Its size, levels, channels and pixels. Level 0 is full resolution; sizes are in px of their level.",
        ),
    )
    async def info(request: Request, target: TargetOf) -> Response:
        found, body = await unless_gone(request.receive, slides.opened(target))
        return answers.document(context, request, body, found.version)

    @routes.get(
        "/thumbnail/max_size/{max_x}/{max_y}",
        **openapi.operation(
            "The whole slide in one picture",
            openapi.RASTER,
            "It fits within the size, keeps its proportions and is never enlarged.",
        ),
    )
    async def thumbnail(
        request: Request, target: TargetOf, size: ThumbnailSize, encoding: EncodingOf, colour: ColourOf
    ) -> Response:
        largest, asked = checked(size, context), options(encoding, colour, padding=context.padding)
        work = slides.thumbnail(target, largest, asked)
        return answers.image(context, request, await unless_gone(request.receive, work), encoding.kind)

    @routes.get(
        "/label/max_size/{max_x}/{max_y}",
        **openapi.operation(
            "The label of a slide", openapi.ASSOCIATED, "Made smaller to fit within the size, never enlarged."
        ),
    )
    async def label(request: Request, target: TargetOf, size: AssociatedSize, encoding: EncodingOf) -> Response:
        work = slides.associated(target, "label", size, options(encoding, padding=context.padding))
        return answers.image(context, request, await unless_gone(request.receive, work), encoding.kind)

    @routes.get(
        "/macro/max_size/{max_x}/{max_y}",
        **openapi.operation(
            "The overview of a slide with its label",
            openapi.COLOURED,
            "Made smaller to fit within the size, never enlarged.",
        ),
    )
    async def macro(
        request: Request, target: TargetOf, size: AssociatedSize, encoding: EncodingOf, colour: ColourOf
    ) -> Response:
        work = slides.associated(target, "macro", size, options(encoding, colour, padding=context.padding))
        return answers.image(context, request, await unless_gone(request.receive, work), encoding.kind)

    @routes.get(
        REGION,
        **openapi.operation(
            "A rectangle of a level, exactly as large as asked",
            openapi.RASTER,
            "Place and size are in px of the level. Outside of the slide it has the padding colour.",
        ),
    )
    async def region(
        request: Request, target: TargetOf, place: Place, encoding: EncodingOf, colour: ColourOf, view: ViewOf
    ) -> Response:
        asked = options(encoding, colour, view, padding=context.padding)
        level, rectangle = place
        work = slides.region(target, TileIndex(level, 0, 0, view.z, view.t), rectangle, asked)
        return answers.image(context, request, await unless_gone(request.receive, work), encoding.kind)

    @routes.get(
        TILE,
        **openapi.operation(
            "A tile of a level",
            openapi.TILE,
            "At the edges cropped to the level, unless the server pads tiles. A stored JPEG tile is answered untouched"
            " when nothing is asked that changes its pixels.",
        ),
    )
    async def tile(
        request: Request, target: TargetOf, at: TileOf, encoding: EncodingOf, colour: ColourOf, view: ViewOf
    ) -> Response:
        asked = options(encoding, colour, view, padding=context.padding, pad=context.pad_tiles)
        work = slides.tile(target, at._replace(z=view.z, t=view.t), asked)
        return answers.image(context, request, await unless_gone(request.receive, work), encoding.kind)

    @routes.get(
        "/icc_profile",
        **openapi.operation(
            "The ICC profile as it is stored", openapi.PROFILE, "Compressed for clients that accept gzip."
        ),
    )
    async def icc_profile(request: Request, target: TargetOf) -> Response:
        data, etag = await unless_gone(request.receive, slides.profile(target))
        return answers.profile(context, request, data, etag)

    return routes


def checked(size: Size, context: V3Context) -> Size:
    """The size of a thumbnail within the limit. Raises OutOfRange."""
    for name, value in zip(("max_x", "max_y"), size, strict=True):
        if value > context.limits.thumbnail_side:
            raise OutOfRange(("path", name), value, context.limits.thumbnail_side)
    return size


class Unprocessable(Exception):
    """A parameter that only the route can check; answered as FastAPI answers those it checks itself."""

    def __init__(self, **detail: Any) -> None:
        super().__init__(detail["msg"])
        self.detail = detail


class OutOfRange(Unprocessable):
    """A number whose limit is a setting."""

    def __init__(self, place: tuple[str, str], value: int, limit: int) -> None:
        text = f"Input should be less than or equal to {limit}"
        super().__init__(type="less_than_equal", loc=place, msg=text, input=str(value), ctx={"le": limit})


class MissingParameter(Unprocessable):
    """A parameter of which there must be one."""

    def __init__(self, place: tuple[str, str]) -> None:
        super().__init__(type="missing", loc=place, msg="Field required", input=None)


class WrongNumbers(Unprocessable):
    """Lists that belong together and differ in length, or hold something else than numbers."""

    def __init__(self, slides: int, places: int) -> None:
        text = f"levels, xs and ys must hold a number for each slide: {slides} slides, {places} numbers"
        super().__init__(type="value_error", loc=("query", "levels"), msg=text, input=None)
