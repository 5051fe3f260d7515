"""Rendered resources and thumbnails (PS3.18 §10.4.1.1.3, §10.4.1.1.4): pictures for clients that know no DICOM."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from microtome.api.dicomweb import accept, answers
from microtome.api.dicomweb.context import DicomwebContext
from microtome.api.dicomweb.qido import parameters_of
from microtome.api.dicomweb.rendering import rendering, viewport
from microtome.api.dicomweb.wado import frame_numbers
from microtome.api.disconnect import unless_gone
from microtome.caching import Cache
from microtome.dicom import syntaxes
from microtome.dicom.dataset import Bulk
from microtome.dicom.render import Rendering, StoredFrame, Viewport, render
from microtome.dicom.rows import InstanceRow
from microtome.dicom.sequences import has_large, with_item
from microtome.dicom.voi import PER_FRAME
from microtome.errors import InvalidRequest, NotAcceptable, NotFound

THUMBNAIL = Viewport(200, 200)
_BUDGET = 64 << 20
_COPIES = 3
"""Of its samples that making a picture takes."""
_PDF, _DOCUMENT = "1.2.840.10008.5.1.4.1.1.104.1", "00420011"
_DOCUMENT_LENGTH = 0x0042_0015


class Rendered:
    """Pictures of frames, instances, series and studies; of the latter two the one in the middle stands for all."""

    def __init__(self, context: DicomwebContext) -> None:
        self._context = context
        self._kept: Cache[str, bytes] = Cache(_BUDGET, weigh=len)

    async def rendered(self, request: Request) -> Response:
        """A picture as large as the image, or as the viewport says."""
        return await self._answer(request, None)

    async def thumbnail(self, request: Request) -> Response:
        """A small picture; its viewport is the largest it may be."""
        return await self._answer(request, THUMBNAIL)

    async def _answer(self, request: Request, most: Viewport | None) -> Response:
        context = self._context
        context.authorise(request)
        parameters = parameters_of(request)
        query = dict(parameters)
        asked = [value for name, value in parameters if name == "accept"]
        row = await self._row(request)
        if row.sop_class == _PDF and most is None:
            return await self._document(row)
        wanted = accept.parse(", ".join(request.headers.getlist("accept")) or None, asked)
        offer = accept.choose(wanted, accept.RENDERED)
        look = rendering(query, offer.media_type)
        if most is not None:
            look = replace(look, viewport=viewport(query.get("viewport")) or most)
        text = request.path_params.get("frames")
        numbers = frame_numbers(text, context.limits.frames) if text is not None else [_middle(row, request)]
        if len(numbers) > 1:
            raise InvalidRequest("One frame is rendered at a time", parameter="frames")
        return await self.picture(request, row, numbers[0], look)

    async def picture(self, request: Request, row: InstanceRow, number: int, look: Rendering) -> Response:
        """The picture of a frame, from 1."""
        context = self._context
        etag = context.etag(row, number, look)
        if known := answers.fixed(request, etag, context.cache_control):
            return known
        data = await unless_gone(
            request.receive, self._kept.get_or_compute(etag, lambda: self._rendered(row, number, look))
        )
        headers = {
            "etag": f'"{etag}"',
            "cache-control": context.cache_control,
            "vary": "accept, origin",
            "x-content-type-options": "nosniff",
        }
        return Response(data, headers=headers, media_type=look.media_type)

    async def _rendered(self, row: InstanceRow, number: int, look: Rendering) -> bytes:
        context = self._context
        if row.pixel is None:
            raise NotAcceptable("The instance has no picture; ask for the instance, its metadata or bulk data")
        content = context.content(row)
        (data,) = content.peek(row, [number]) or await content.frames(row, [number])
        header = await content.header(row)
        loop = asyncio.get_running_loop()
        large = {each.value: each.tag for each in header if isinstance(each.value, Bulk)}

        def read(bulk: Bulk) -> bytes:
            if bulk not in large:
                raise NotFound("bulk data", "")
            work = content.bulk(row, f"{large[bulk]:08X}")
            return asyncio.run_coroutine_threadsafe(work, loop).result()

        # ``Content.frames`` gives native frames little-endian and each from its first bit.
        native = not syntaxes.find(row.transfer_syntax).encapsulated
        syntax = accept.EXPLICIT_LITTLE if native else row.transfer_syntax
        facts = await context.facts(row)
        if facts.monochrome and has_large(header):
            header = await asyncio.to_thread(with_item, header, PER_FRAME, number - 1, await content.items(row))
        frame = StoredFrame(data, header, facts, syntax, number - 1, 0, read)
        with context.workers.room(_COPIES * facts.nbytes):
            return await context.workers.run(partial(render, frame, look))

    async def _document(self, row: InstanceRow) -> Response:
        """The document that an instance of this class is the envelope of."""
        content = self._context.content(row)
        data = await content.bulk(row, _DOCUMENT)
        # It is padded to an even length; how long it was is told (PS3.3 §C.24.2), if not by all.
        length = (await content.header(row)).whole(_DOCUMENT_LENGTH)
        data = data[:length] if length == len(data) - 1 else data
        headers = {"cache-control": self._context.cache_control, "x-content-type-options": "nosniff"}
        return Response(data, headers=headers, media_type="application/pdf")

    async def _row(self, request: Request) -> InstanceRow:
        context, path = self._context, request.path_params
        if "instance" in path:
            row = await context.index.instance(path["study"], path["series"], path["instance"])
        else:
            rows = await context.index.instances(path["study"], path.get("series"))
            pictures = [each for each in rows if each.pixel is not None] or rows
            row = pictures[len(pictures) // 2]
            row = await context.index.instance(row.study_uid, row.series_uid, row.sop_uid)
        return await context.check(request, row)


def _middle(row: InstanceRow, request: Request) -> int:
    """The frame that stands for an instance: the first, or of a series the middle one."""
    return 1 if "instance" in request.path_params or row.frames < 2 else row.frames // 2


def query_of(parameters: Mapping[str, str]) -> Mapping[str, str]:
    """The parameters of WADO-URI by the names of WADO-RS."""
    found: dict[str, str] = {}
    if "windowCenter" in parameters or "windowWidth" in parameters:
        found["window"] = f"{parameters.get('windowCenter', '')},{parameters.get('windowWidth', '')}"
    if "rows" in parameters or "columns" in parameters:
        rows, columns = parameters.get("rows", "65500"), parameters.get("columns", "65500")
        found["viewport"] = f"{columns},{rows}"
    for name, ours in (("imageQuality", "quality"), ("annotation", "annotation"), ("iccprofile", "iccprofile")):
        if name in parameters:
            found[ours] = parameters[name]
    return found
