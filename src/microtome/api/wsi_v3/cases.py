"""``/v3/cases/...``, ``/v3/slides``, ``/v3/slides/storage``: what the catalogue knows, as far as callers may see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from microtome.api.wsi_v3 import answers, documents, errors
from microtome.api.wsi_v3.context import V3Context
from microtome.api.wsi_v3.parameters import Principal, SlideId
from microtome.api.wsi_v3.slides import MissingParameter
from microtome.catalog.base import Case, MappedSlide


def router(context: V3Context) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["cases"])

    async def visible(who: Any, found: Sequence[Case]) -> list[Case]:
        kept: list[Case] = []
        for case in found:
            slides = tuple([each for each in case.slides if await context.allows(who, each)])
            if slides or not case.slides:
                kept.append(replace(case, slides=slides))
        return kept

    @routes.get("/cases/", summary="The cases of the catalogue, or of a folder")
    async def cases(
        request: Request,
        who: Principal,
        folder: Annotated[str | None, Query(alias="context", description="A folder below the data")] = None,
    ) -> Response:
        found = await visible(who, await context.mapper.cases(folder))
        return answers.document(context, request, [documents.case(each) for each in found])

    @routes.get("/cases/slides/", summary="The slides of a case")
    async def case_slides(
        request: Request,
        who: Principal,
        case_id: Annotated[str | None, Query(description="Id of the case")] = None,
        slide_id: Annotated[str | None, Query(description="Id of the case, by its older name")] = None,
    ) -> Response:
        case = slide_id if case_id is None else case_id
        if case is None:
            raise MissingParameter(("query", "case_id"))
        found = [each for each in await context.mapper.slides(case) if await context.allows(who, each.id)]
        return answers.document(context, request, [documents.slide(each) for each in found])

    async def one(who: Any, slide_id: str) -> MappedSlide:
        return (await context.slide(who, slide_id))[1]

    @routes.get("/slides", summary="A slide of the catalogue")
    async def slide(request: Request, who: Principal, slide_id: SlideId) -> Response:
        return answers.document(context, request, documents.slide(await one(who, slide_id)))

    @routes.get("/slides/storage", summary="Where a slide is")
    async def storage(request: Request, who: Principal, slide_id: SlideId) -> Response:
        return answers.document(context, request, documents.storage(await one(who, slide_id)))

    @routes.get("/refresh_local_mapper", summary="Look for new files now")
    async def refresh(who: Principal) -> Response:
        await context.mapper.refresh()
        return errors.detail("Local mapper has been refreshed.", 200)

    return routes
