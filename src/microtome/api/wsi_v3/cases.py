"""``/v3/cases/...``, ``/v3/slides``, ``/v3/slides/storage``: what the catalogue knows, as far as callers may see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from microtome.api.wsi_v3 import answers, documents, errors, openapi
from microtome.api.wsi_v3.context import V3Context
from microtome.api.wsi_v3.parameters import Principal, SlideId
from microtome.api.wsi_v3.slides import MissingParameter
from microtome.catalog.base import Case, MappedSlide
from microtome.errors import NotFound


def router(context: V3Context) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["cases"])

    async def visible(who: Any, found: Sequence[Case]) -> list[Case]:
        kept: list[Case] = []
        for case in found:
            slides = tuple([each for each in case.slides if await context.allows(who, each)])
            if slides or (not case.slides and await context.allows(who, case.id)):
                kept.append(replace(case, slides=slides))
        return kept

    @routes.get(
        "/cases/",
        **openapi.operation(
            "The cases of the catalogue, or of a folder",
            openapi.CASES,
            "The mapper decides whether it needs a context. Slides that the caller may not see are left out.",
        ),
    )
    async def cases(
        request: Request,
        who: Principal,
        folder: Annotated[str | None, Query(alias="context", description="A folder below the data")] = None,
    ) -> Response:
        missing = NotFound("context", folder or "", f"Context folder '{folder}' not found")
        found = await visible(who, await context.unless_missing(context.mapper.cases(folder), missing))
        if not found and folder and not await context.allows(who, folder):
            raise missing
        return answers.document(context, request, [documents.case(each) for each in found])

    @routes.get(
        "/cases/slides/",
        **openapi.operation("The slides of a case", openapi.SLIDES, "Slides that the caller may not see are left out."),
    )
    async def case_slides(
        request: Request,
        who: Principal,
        case_id: Annotated[str | None, Query(description="Id of the case")] = None,
        slide_id: Annotated[str | None, Query(description="Id of the case, by its older name")] = None,
    ) -> Response:
        case = slide_id if case_id is None else case_id
        if case is None:
            raise MissingParameter(("query", "case_id"))
        missing = NotFound("case", case, f"Case with case_id {case} does not exist")
        listed = await context.unless_missing(context.mapper.slides(case), missing)
        found = [each for each in listed if await context.allows(who, each.id)]
        if not found and case and not await context.allows(who, case):
            raise missing
        return answers.document(context, request, [documents.slide(each) for each in found])

    async def one(who: Any, slide_id: str) -> MappedSlide:
        return (await context.slide(who, slide_id))[1]

    @routes.get(
        "/slides", **openapi.operation("A slide of the catalogue", openapi.SLIDE, "With the files it is made of.")
    )
    async def slide(request: Request, who: Principal, slide_id: SlideId) -> Response:
        return answers.document(context, request, documents.slide(await one(who, slide_id)))

    @routes.get(
        "/slides/storage",
        **openapi.operation("Where a slide is", openapi.STORAGE, "Addresses are relative to the root of the data."),
    )
    async def storage(request: Request, who: Principal, slide_id: SlideId) -> Response:
        return answers.document(context, request, documents.storage(await one(who, slide_id)))

    @routes.get(
        "/refresh_local_mapper",
        **openapi.operation(
            "Look for new files now", openapi.DONE, "New files also appear without it, after a moment."
        ),
    )
    async def refresh(who: Principal) -> Response:
        await context.mapper.refresh()
        return errors.detail("Local mapper has been refreshed.", 200)

    return routes
