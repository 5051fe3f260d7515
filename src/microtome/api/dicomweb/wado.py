"""WADO-RS (PS3.18 §10.4): instances, their metadata, frames and bulk data, as stored wherever that will do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from microtome.api.dicomweb import accept, answers, xml
from microtome.api.dicomweb.context import DicomwebContext, place
from microtome.api.dicomweb.qido import parameters_of
from microtome.api.disconnect import unless_gone
from microtome.caching import Cache
from microtome.dicom import syntaxes, transcode
from microtome.dicom.image import PIXEL_DATA
from microtome.dicom.rows import InstanceRow
from microtome.dicom.scanner import PixelData
from microtome.dicom.xml import to_xml
from microtome.errors import InvalidRequest, LimitExceeded, NotAcceptable, NotFound, UnsupportedFormat
from microtome.tiles.answer import key_of

_FRAMES = re.compile(r"[0-9]{1,10}(?:,[0-9]{1,10})*")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_METADATA_BUDGET = 128 << 20
_BULK = b'"BulkDataURI":"'


class Wado:
    """One method for each kind of resource; the path says of what."""

    def __init__(self, context: DicomwebContext) -> None:
        self._context = context
        self._documents: Cache[tuple[str, str, int], bytes] = Cache(_METADATA_BUDGET, weigh=len)

    # -- metadata ----------------------------------------------------------------------------------------------------

    async def metadata(self, request: Request) -> Response:
        """The data sets of a study, series or instance without their bulk data."""
        context, wanted = self._context, self._accept(request)
        context.authorise(request)
        offer = accept.choose(wanted, accept.METADATA)
        study, series, sop = (request.path_params.get(name) for name in ("study", "series", "instance"))
        rows = await self._rows(request)
        address = context.address(request)
        if offer.multipart:
            return xml.documents([await self._xml(row, address) for row in rows], private=context.private)
        revision = await context.index.revision(str(study), series)
        key = (f"{study}/{series}/{sop}", address, revision)
        body = await self._documents.get_or_compute(key, lambda: self._metadata(request, rows, address))
        private = context.private or context.auth.enabled
        return answers.document(request, body, offer.media_type, private=private)

    async def _metadata(self, request: Request, rows: Sequence[InstanceRow], address: str) -> bytes:
        study, series, sop = (request.path_params.get(name) for name in ("study", "series", "instance"))
        headers = await self._context.index.headers(str(study), series, sop)
        found: list[bytes] = []
        for row, header in zip(rows, headers, strict=True):
            base = _bulk_address(row, address)
            found.append(header.replace(_BULK, _BULK + base.encode("ascii", "replace")))
        return b"[" + b",".join(found) + b"]"

    async def _xml(self, row: InstanceRow, address: str) -> bytes:
        header = await self._context.content(row).header(row)
        pixels = row.pixel and PixelData(PIXEL_DATA, row.pixel.vr, row.pixel.offset, row.pixel.length)
        base = _bulk_address(row, address)
        return await asyncio.to_thread(partial(to_xml, header, bulk_uri=base.__add__, pixels=pixels))

    # -- instances ---------------------------------------------------------------------------------------------------

    async def instances(self, request: Request) -> Response:
        """Whole instances of a study, series or one."""
        self._context.authorise(request)
        rows = await self._rows(request)
        wanted = self._accept(request)
        stored = [accept.Stored(row.transfer_syntax, await self.targets(row)) for row in rows]
        chosen = accept.instances(wanted, stored)
        headers = {"cache-control": self._context.cache_control, "vary": "accept, origin"}
        if not chosen.multipart:
            media = f"{accept.DICOM}; transfer-syntax={chosen.syntaxes[0]}"
            body = await self.whole(rows[0], chosen.syntaxes[0])
            return StreamingResponse(await answers.begun(body), headers={**headers, "content-type": media})

        async def parts() -> AsyncIterator[tuple[str, str | None, AsyncIterator[bytes]]]:
            for row, syntax in zip(rows, chosen.syntaxes, strict=True):
                yield f"{accept.DICOM}; transfer-syntax={syntax}", None, await self.whole(row, syntax)

        return await answers.streamed_parts(accept.DICOM, parts(), headers)

    async def whole(self, row: InstanceRow, syntax: str) -> AsyncIterator[bytes]:
        """The file of an instance in a transfer syntax, in pieces."""
        content = self._context.content(row)
        if syntax == row.transfer_syntax:
            return content.part10(row)
        from microtome.api.dicomweb.convert import converted

        return converted(self._context, row, syntax)

    # -- frames ------------------------------------------------------------------------------------------------------

    async def frames(self, request: Request) -> Response:
        """Frames in the order asked."""
        context = self._context
        context.authorise(request)
        numbers = frame_numbers(request.path_params["frames"], context.limits.frames)
        (row,) = await self._rows(request)
        if row.pixel is None:
            raise NotFound("frame", str(numbers[0]), "The instance has no pixel data")
        chosen = accept.frames(
            self._accept(request), accept.Stored(row.transfer_syntax, await self.targets(row)), len(numbers)
        )
        control = context.cache_control
        etag = key_of(f"{row.key}\0{row.version}\0{row.sop_uid}\0{numbers}\0{chosen}")
        if known := answers.fixed(request, etag, control):
            return known
        frames = await unless_gone(request.receive, self._frames(row, numbers, chosen.syntax))
        headers = {"etag": f'"{etag}"', "cache-control": control, "vary": "accept, origin"}
        if not chosen.multipart:
            return Response(frames[0], headers={**headers, "content-type": chosen.part_type})
        address = f"{context.address(request)}{place(request.path_params)}/frames/"
        found = [(chosen.part_type, f"{address}{number}", frame) for number, frame in zip(numbers, frames, strict=True)]
        return answers.parts(chosen.media_type, found, headers)

    async def _frames(self, row: InstanceRow, numbers: Sequence[int], syntax: str) -> list[bytes]:
        frames = await self._context.content(row).frames(row, numbers)
        source = row.transfer_syntax
        native = not syntaxes.find(source).encapsulated
        if syntax == source or (native and syntax == accept.EXPLICIT_LITTLE):
            return frames
        facts = await self._context.facts(row)
        # ``Content.frames`` gives native frames little-endian and each from its first bit.
        source = accept.EXPLICIT_LITTLE if native else source
        return [
            (await asyncio.to_thread(partial(transcode.transcode, frame, facts, source, syntax))).data
            for frame in frames
        ]

    async def targets(self, row: InstanceRow) -> frozenset[str]:
        """The transfer syntaxes an instance can be converted to."""
        if row.pixel is None:
            return frozenset({accept.EXPLICIT_LITTLE, row.transfer_syntax})
        try:
            return transcode.targets(await self._context.facts(row), row.transfer_syntax)
        except (NotFound, UnsupportedFormat):
            return frozenset()

    # -- bulk data ---------------------------------------------------------------------------------------------------

    async def bulk(self, request: Request) -> Response:
        """The value of an element, whole or a range of it."""
        context = self._context
        context.authorise(request)
        (row,) = await self._rows(request)
        path = request.path_params["path"]
        data = await context.content(row).bulk(row, path)
        wanted = self._accept(request)
        offers = (accept.Offer(accept.OCTETS, multipart=True), accept.Offer(accept.OCTETS))
        if request.headers.get("accept", "*/*").strip() in {"", "*/*"}:
            offers = offers[::-1]
        try:
            offer = accept.choose(wanted, offers)
        except NotAcceptable:
            offer = accept.Offer(accept.OCTETS)  # viewers ask for the type of what the value holds: PDF, a profile
        headers = {
            "cache-control": context.cache_control,
            "vary": "accept, origin",
            "etag": f'"{key_of(f"{row.key}{row.version}{path}")}"',
            "x-content-type-options": "nosniff",
        }
        if offer.multipart:
            location = f"{context.address(request)}{place(request.path_params)}/bulk/{path}"
            return answers.parts(accept.OCTETS, [(accept.OCTETS, location, data)], headers)
        return ranged(request, data, {**headers, "content-type": accept.OCTETS, "accept-ranges": "bytes"})

    # -- pieces ------------------------------------------------------------------------------------------------------

    def _accept(self, request: Request) -> accept.Accept:
        asked = [value for name, value in parameters_of(request) if name == "accept"]
        return accept.parse(", ".join(request.headers.getlist("accept")) or None, asked)

    async def _rows(self, request: Request) -> list[InstanceRow]:
        """The instances of the path, in order, that the caller may see. Raises NotFound when there are none."""
        context, path = self._context, request.path_params
        if "instance" in path:
            row = await context.index.instance(path["study"], path["series"], path["instance"])
            return [await context.check(request, row)]
        rows = await context.index.instances(path["study"], path.get("series"))
        return [await context.check(request, row) for row in rows]


def _bulk_address(row: InstanceRow, address: str) -> str:
    return f"{address}/studies/{row.study_uid}/series/{row.series_uid}/instances/{row.sop_uid}/bulk/"


def frame_numbers(text: str, most: int) -> list[int]:
    """``1,3,2``. Raises InvalidRequest for anything else and for 0, LimitExceeded for too many."""
    if not _FRAMES.fullmatch(text):
        raise InvalidRequest("Frames are numbers from 1, separated by commas", parameter="frames")
    numbers = [int(each) for each in text.split(",")]
    if 0 in numbers:
        raise InvalidRequest("Frames count from 1", parameter="frames")
    if len(numbers) > most:
        raise LimitExceeded(f"At most {most} frames are sent at once", limit="frames", value=len(numbers))
    return numbers


def ranged(request: Request, data: bytes, headers: dict[str, str]) -> Response:
    """All of it, or the one range that was asked for; 416 for one that begins behind the end."""
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or found.groups() == ("", ""):
        return Response(data, headers=headers)
    first, last = found.groups()
    if first:
        start, stop = int(first), min(int(last) + 1 if last else len(data), len(data))
    else:
        start, stop = max(0, len(data) - int(last)), len(data)
    if start >= stop:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{len(data)}"})
    headers = {**headers, "content-range": f"bytes {start}-{stop - 1}/{len(data)}"}
    return Response(data[start:stop], 206, headers)
