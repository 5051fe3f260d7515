"""``/v3/files/...`` and ``/v3/batch/...``: many slides in one request, pictures in a zip archive.

A slide that fails becomes the entry ``tN.err``, whose text says why; the others are answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from microtome.api import compression
from microtome.api.disconnect import unless_gone
from microtome.api.wsi_v3 import answers, openapi
from microtome.api.wsi_v3.context import V3Context
from microtome.api.wsi_v3.parameters import ColourOf, EncodingOf, Plugin, Principal, ViewOf, options
from microtome.api.wsi_v3.slides import (
    TILE,
    AssociatedSize,
    Missing,
    MissingParameter,
    Slides,
    Target,
    ThumbnailSize,
    TileOf,
    WrongNumbers,
    checked,
)
from microtome.errors import Forbidden, InvalidRequest, LimitExceeded, MicrotomeError, Unauthenticated
from microtome.model import TileIndex
from microtome.pixels import images
from microtome.tiles.answer import ImageAnswer
from microtome.tiles.service import is_vector

AT_ONCE = 8
"""Slides of one request that are worked on at the same time."""
ENTRIES = "Entries are t1, t2, ... in the order asked for; one that fails is tN.err, whose text says why."
One = Callable[[int, Target], Coroutine[Any, Any, ImageAnswer]]
"""The picture of a slide; the number is its place in the request."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The slides of a request in their order; ``single`` when the client named one with ``slide_id``."""

    each: tuple[Target, ...]
    single: bool = False


async def targets_of(
    request: Request,
    who: Principal,
    paths: Annotated[
        list[str] | None, Query(description="Ids of slides, separated by commas, or one each time")
    ] = None,
    slides: Annotated[list[str] | None, Query(description="Older name of paths")] = None,
    slide_id: Annotated[str | None, Query(description="One slide; pictures then come without archive")] = None,
    plugin: Plugin = None,
) -> Targets:
    """The slides, by any of the names of the parameter. Raises MissingParameter, LimitExceeded."""
    given = paths or slides or []
    found = given[0].split(",") if len(given) == 1 else given  # an id may hold a comma where each stands for itself
    if not found and slide_id is not None:
        return Targets((Target(who, slide_id, plugin or None),), single=True)
    if not found:
        raise MissingParameter(("query", "slides" if "/batch/" in request.scope["path"] else "paths"))
    limit = request.app.state.context.limits.batch
    if len(found) > limit:
        raise LimitExceeded(
            f"{len(found)} slides were asked for at once; at most {limit} are answered", limit="batch", value=len(found)
        )
    return Targets(tuple(Target(who, each, plugin or None) for each in found))


TargetsOf = Annotated[Targets, Depends(targets_of)]


Numbers = Annotated[str, Query(description="A number for each slide, separated by commas")]


async def places_of(levels: Numbers, xs: Numbers, ys: Numbers) -> list[TileIndex]:
    """The tiles, one for each slide. Raises WrongNumbers for lists of different lengths or without numbers."""
    lists: list[list[int]] = []
    for text in (levels, xs, ys):
        try:
            lists.append([int(each) for each in text.split(",")])
        except ValueError:
            raise WrongNumbers(0, 0) from None
    if len({len(each) for each in lists}) != 1 or any(level < 0 for level in lists[0]):
        raise WrongNumbers(*sorted(len(each) for each in lists)[:2])
    return [TileIndex(*place) for place in zip(*lists, strict=True)]


PlacesOf = Annotated[list[TileIndex], Depends(places_of)]


def router(context: V3Context, prefix: str) -> APIRouter:
    """The routes under ``/files`` or ``/batch``; either accepts ``paths`` and ``slides``, repeated or with commas."""
    routes = APIRouter(prefix=prefix, tags=[prefix.strip("/")])
    slides = Slides(context)

    async def pictures(request: Request, targets: Targets, kind: str | None, one: One) -> Response:
        if targets.single:
            return answers.image(context, request, await unless_gone(request.receive, one(0, targets.each[0])), kind)
        return answers.archive(await unless_gone(request.receive, _entries(targets.each, kind, one)))

    @routes.get(
        "/info",
        **openapi.operation(
            "The facts of several slides", openapi.INFOS, "In the order asked for. One that fails fails the request."
        ),
    )
    async def info(request: Request, targets: TargetsOf) -> Response:
        async def all_of_them() -> list[Any]:
            return [(await slides.opened(target))[1] for target in targets.each]

        found = await unless_gone(request.receive, all_of_them())
        return answers.document(context, request, found[0] if targets.single else found)

    @routes.get(
        "/thumbnail/max_size/{max_x}/{max_y}",
        **openapi.operation("Thumbnails of several slides", openapi.ARCHIVE, ENTRIES),
    )
    async def thumbnail(
        request: Request, targets: TargetsOf, size: ThumbnailSize, encoding: EncodingOf, colour: ColourOf
    ) -> Response:
        largest, asked = checked(size, context), options(encoding, colour, padding=context.padding)
        return await pictures(
            request, targets, encoding.kind, lambda _, target: slides.thumbnail(target, largest, asked)
        )

    @routes.get(
        "/label/max_size/{max_x}/{max_y}",
        **openapi.operation("Labels of several slides", openapi.ARCHIVE, ENTRIES),
    )
    async def label(request: Request, targets: TargetsOf, size: AssociatedSize, encoding: EncodingOf) -> Response:
        asked = options(encoding, padding=context.padding)
        return await pictures(
            request, targets, encoding.kind, lambda _, target: slides.associated(target, "label", size, asked)
        )

    @routes.get(
        "/macro/max_size/{max_x}/{max_y}",
        **openapi.operation("Overviews of several slides", openapi.ARCHIVE, ENTRIES),
    )
    async def macro(
        request: Request, targets: TargetsOf, size: AssociatedSize, encoding: EncodingOf, colour: ColourOf
    ) -> Response:
        asked = options(encoding, colour, padding=context.padding)
        return await pictures(
            request, targets, encoding.kind, lambda _, target: slides.associated(target, "macro", size, asked)
        )

    @routes.get(
        TILE,
        **openapi.operation("The same tile of several slides", openapi.ARCHIVE_OF_TILES, ENTRIES),
    )
    async def tile(
        request: Request, targets: TargetsOf, at: TileOf, encoding: EncodingOf, colour: ColourOf, view: ViewOf
    ) -> Response:
        asked = options(encoding, colour, view, padding=context.padding, pad=context.pad_tiles)
        index = at._replace(z=view.z, t=view.t)
        return await pictures(request, targets, encoding.kind, lambda _, target: slides.tile(target, index, asked))

    @routes.get(
        "/batch/",
        **openapi.operation("One tile of each of several slides", openapi.ARCHIVE_OF_TILES, ENTRIES),
    )
    async def batch(
        request: Request, targets: TargetsOf, places: PlacesOf, encoding: EncodingOf, colour: ColourOf, view: ViewOf
    ) -> Response:
        if len(targets.each) != len(places):
            raise WrongNumbers(len(targets.each), len(places))
        asked = options(encoding, colour, view, padding=context.padding, pad=context.pad_tiles)
        return await pictures(
            request,
            targets,
            encoding.kind,
            lambda number, target: slides.tile(target, places[number]._replace(z=view.z, t=view.t), asked),
        )

    @routes.get(
        "/icc_profile",
        **openapi.operation("ICC profiles of several slides", openapi.PROFILES, "400 when one of the slides has none."),
    )
    async def icc_profile(request: Request, targets: TargetsOf) -> Response:
        async def all_of_them() -> list[bytes]:
            try:
                found = [(await slides.profile(target))[0] for target in targets.each]
            except Missing as error:
                raise InvalidRequest(error.message, parameter="slides") from error
            return found

        found = await unless_gone(request.receive, all_of_them())
        return answers.archive((f"t{number}.raw", data) for number, data in enumerate(found, 1))

    return routes


async def _entries(targets: tuple[Target, ...], kind: str | None, one: One) -> list[tuple[str, bytes]]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def entry(number: int, target: Target) -> tuple[str, bytes]:
        async with gate:
            try:
                tile = (await one(number - 1, target)).image
                if is_vector(tile) and kind is not None and not images.KINDS[kind].passthrough:
                    raise InvalidRequest(f"This is a vector tile set; it has no {kind}", parameter="image_format")
                if not is_vector(tile) and kind is not None and images.KINDS[kind].passthrough:
                    raise InvalidRequest(f"This is a picture; it has no {kind}", parameter="image_format")
            except (Unauthenticated, Forbidden):
                raise
            except MicrotomeError as error:
                return f"t{number}.err", error.message.encode("utf-8", "replace")
        name = kind or ("mvt" if is_vector(tile) else "jpeg")
        return f"t{number}.{images.KINDS[name].extension}", compression.unzipped(tile)

    return list(await asyncio.gather(*(entry(number, target) for number, target in enumerate(targets, 1))))
