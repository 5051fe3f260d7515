"""Sets of vector tiles for maps: ``/v3/slides/tilejson``, and tiles addressed by zoom as TileJSON wants it.

Levels count from full resolution down, zooms from the whole plane up, so that no URL template can turn one into the
other; hence a second address of the same tiles.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from microtome.api.disconnect import unless_gone
from microtome.api.wsi_v3 import answers, openapi
from microtome.api.wsi_v3.context import V3Context
from microtome.api.wsi_v3.parameters import EncodingOf, options
from microtome.api.wsi_v3.slides import Column, Missing, Slides, Target, TargetOf
from microtome.formats.vector import level_of_zoom, tilejson
from microtome.model import TileIndex
from microtome.tiles.answer import ImageAnswer
from microtome.tiles.pictures import OpenedInfo

ZOOM_TILE = "/tile/zoom/{zoom}/tile/{tile_x}/{tile_y}"
Zoom = Annotated[int, Path(ge=0, description="Zoom: the plane is 2^zoom tiles wide")]


async def zoom_tile_of(zoom: Zoom, tile_x: Column, tile_y: Column) -> TileIndex:
    """Zoom (in place of the level), column, and row from the top."""
    return TileIndex(zoom, tile_x, tile_y)


ZoomTile = Annotated[TileIndex, Depends(zoom_tile_of)]


def router(context: V3Context) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/slides", tags=["slides"])
    slides = Slides(context)

    async def facts(target: Target) -> OpenedInfo:
        found, _ = await slides.opened(target)
        if found.info.channels:
            raise Missing(f"Slide {target.slide_id} is a picture, not a set of vector tiles: it has no TileJSON.")
        return found

    @routes.get(
        "/tilejson",
        **openapi.operation(
            "TileJSON of a set of vector tiles",
            openapi.TILE_JSON,
            "The address of its tiles is relative to the root of the server; rows count from the top.",
        ),
    )
    async def tile_json(request: Request, target: TargetOf) -> Response:
        found = await unless_gone(request.receive, facts(target))
        plugin = f"&plugin={quote(target.plugin, safe='')}" if target.plugin else ""
        place = ZOOM_TILE.format(zoom="{z}", tile_x="{x}", tile_y="{y}")
        url = f"{request.scope['root_path']}/slides{place}?slide_id={quote(target.slide_id, safe='')}{plugin}"
        return answers.document(context, request, tilejson(found.info, url), found.version)

    @routes.get(
        ZOOM_TILE,
        **openapi.operation(
            "A vector tile of a zoom",
            openapi.VECTOR_TILE,
            "As it is stored. Its type is that of its content, or the one asked for.",
        ),
    )
    async def zoom_tile(request: Request, target: TargetOf, at: ZoomTile, encoding: EncodingOf) -> Response:
        asked = options(encoding, padding=context.padding)

        async def work() -> ImageAnswer:
            level = level_of_zoom((await facts(target)).info, at.level)
            if level is None:
                raise Missing("Tile does not exist.")
            return await slides.tile(target, at._replace(level=level), asked)

        return answers.image(context, request, await unless_gone(request.receive, work()), encoding.kind)

    return routes
