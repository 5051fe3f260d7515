"""WADO-RS (PS3.18 §10.4): instances, their metadata, frames and bulk data, as stored wherever that will do."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from microtome.api.compression import accepts_gzip
from microtome.api.dicomweb import accept, answers, archive, xml
from microtome.api.dicomweb.context import DicomwebContext, header_of, place
from microtome.api.dicomweb.qido import parameters_of
from microtome.api.disconnect import unless_gone
from microtome.caching import Cache
from microtome.dicom import json, syntaxes, transcode
from microtome.dicom.content import Value, at_hand, in_threads
from microtome.dicom.json import LARGE_SEQUENCE
from microtome.dicom.rows import InstanceRow
from microtome.dicom.scanner import PixelData
from microtome.dicom.sequences import has_large, joined
from microtome.dicom.xml import pieces as xml_pieces
from microtome.dicom.xml import to_xml
from microtome.errors import Busy, InvalidRequest, LimitExceeded, NotAcceptable, NotFound, UnsupportedFormat
from microtome.tiles.answer import key_of

_FRAMES = re.compile(r"[0-9]{1,10}(?:,[0-9]{1,10})*")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_METADATA_BUDGET = 32 << 20
_THREAD_FROM = 64 << 10
"""Longer texts are compressed in a thread."""
_LEVEL = 6
"""Of gzip: a text is compressed once and sent many times."""
_TOGETHER = 8 << 20
"""Frames that may come to more are read one after the other while they are sent."""
_SAMPLES = 3
_COPIES = 4
"""Of the samples of a frame that converting it takes."""
_BULK = b'"BulkDataURI":"'
_PIECE = 256 << 10
_LARGE = answers.Document(b"", "", "")
"""Stands for a text that is too large to be kept."""


class Wado:
    """One method for each kind of resource; the path says of what."""

    def __init__(self, context: DicomwebContext) -> None:
        self._context = context
        self._documents: Cache[tuple[str, ...], answers.Document] = Cache(
            _METADATA_BUDGET, weigh=lambda made: len(made.data)
        )

    # -- metadata ----------------------------------------------------------------------------------------------------

    async def metadata(self, request: Request) -> Response:
        """The data sets of a study, series or instance without their bulk data."""
        context, wanted = self._context, self._accept(request)
        context.authorise(request)
        offer = accept.choose(wanted, accept.METADATA)
        study, series, sop = (request.path_params.get(name) for name in ("study", "series", "instance"))
        address, private = context.address(request), context.private or context.auth.enabled
        if offer.multipart:
            return await self._xml(await self._rows(request), address)
        if context.private:
            await self._rows(request)  # who may not see them finds nothing
        coding, index = answers.accepted_coding(request), context.index
        revision = await index.revision(str(study), series)
        key = (index.view, f"{study}/{series}/{sop}", address, str(revision), offer.media_type, coding)

        async def made() -> answers.Document:
            body = await self._metadata(request, address)
            if body is None:
                return _LARGE
            work = partial(answers.finished, body, offer.media_type, coding, level=_LEVEL)
            return await asyncio.to_thread(work) if len(body) > _THREAD_FROM else work()

        document = await self._documents.get_or_compute(key, made)
        if document is _LARGE:
            return await self._streamed_metadata(request, offer.media_type, address, key_of("\0".join(key)), private)
        return answers.sent(request, document, offer.media_type, private=private)

    async def _metadata(self, request: Request, address: str) -> bytes | None:
        """The whole text, None when there is a large sequence in it."""
        rows, headers = await self._headers(request)
        if any(LARGE_SEQUENCE in header for header in headers):
            return None
        found: list[bytes] = []
        for row, header in zip(rows, headers, strict=True):
            base = _bulk_address(row, address)
            found.append(header.replace(_BULK, _BULK + base.encode("ascii", "replace")))
        return b"[" + b",".join(found) + b"]"

    async def _headers(self, request: Request) -> tuple[list[InstanceRow], list[bytes]]:
        study, series, sop = (request.path_params.get(name) for name in ("study", "series", "instance"))
        rows = await self._rows(request)
        headers = await self._context.index.headers(str(study), series, sop)
        if len(rows) != len(headers):
            raise Busy("The instances have just changed; ask again")
        return rows, headers

    async def _streamed_metadata(
        self,
        request: Request,
        media_type: str,
        address: str,
        etag: str,
        private: bool,  # noqa: FBT001
    ) -> Response:
        """The text while it is read from the files."""
        control = answers.changing(private=private)
        if known := answers.fixed(request, etag, control["cache-control"], {"vary": control["vary"]}, weak=True):
            return known
        rows, headers = await self._headers(request)

        async def pieces() -> AsyncIterator[bytes]:
            before = b"["
            for row, header in zip(rows, headers, strict=True):
                base = _bulk_address(row, address)
                if LARGE_SEQUENCE not in header:
                    before += header.replace(_BULK, _BULK + base.encode("ascii", "replace")) + b","
                    continue
                async for piece in self._pieces(row, address, json.pieces):
                    yield before + piece
                    before = b""
                before = b","
            yield before[:-1] + b"]"

        body = await answers.begun(pieces())
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            control["content-encoding"] = "gzip"
            body = answers.gzipped(body)
        return answers.Streamed(body, headers={**control, "etag": f'W/"{etag}"', "content-type": media_type})

    async def _pieces(
        self, row: InstanceRow, address: str, write: Callable[..., Iterator[bytes]]
    ) -> AsyncIterator[bytes]:
        """The data set of an instance as ``json.pieces`` or ``xml.pieces`` writes it while its file is read."""
        content, base = self._context.content(row), _bulk_address(row, address)
        header, items = await content.header(row), await content.items(row)
        written = write(header, items, bulk_uri=base.__add__, pixels=_pixels(row))
        async for piece in in_threads(joined(written, _PIECE)):
            yield piece

    async def _xml(self, rows: Sequence[InstanceRow], address: str) -> Response:
        private = self._context.private
        documents: list[bytes] = []
        for row in rows:
            header = await self._context.content(row).header(row)
            if has_large(header):
                return await answers.streamed_parts(
                    accept.XML, self._xml_parts(rows, address), answers.changing(private=private)
                )
            base = _bulk_address(row, address)
            written = partial(to_xml, header, bulk_uri=base.__add__, pixels=_pixels(row))
            documents.append(await asyncio.to_thread(written))
        return xml.documents(documents, private=private)

    async def _xml_parts(
        self, rows: Sequence[InstanceRow], address: str
    ) -> AsyncIterator[tuple[str, str | None, AsyncIterator[bytes]]]:
        for row in rows:
            yield accept.XML, None, self._pieces(row, address, xml_pieces)

    # -- instances ---------------------------------------------------------------------------------------------------

    async def instances(self, request: Request) -> Response:
        """Whole instances of a study, series or one."""
        self._context.authorise(request)
        rows = await self._rows(request)
        wanted = self._accept(request)
        stored = [accept.Stored(row.transfer_syntax, await self.targets(row)) for row in rows]
        chosen = accept.instances(wanted, stored)
        headers = {"cache-control": self._context.cache_control, "vary": "accept, origin"}
        if chosen.media_type == accept.ZIP:
            pairs = list(zip(rows, chosen.syntaxes, strict=True))
            files = ((syntax == row.transfer_syntax, await self.whole(row, syntax)) for row, syntax in pairs)
            return await archive.answer(rows, files, headers)
        if not chosen.multipart:
            media = f"{accept.DICOM}; transfer-syntax={chosen.syntaxes[0]}"
            body = await self.whole(rows[0], chosen.syntaxes[0])
            return answers.Streamed(await answers.begun(body), headers={**headers, "content-type": media})

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
        stored = accept.Stored(row.transfer_syntax, await self.targets(row))
        chosen = _form(*_asked(request), stored, several=len(numbers) > 1)
        control = context.cache_control
        etag = context.etag(row, numbers, chosen.part_type, chosen.multipart)
        if known := answers.fixed(request, etag, control, weak=chosen.multipart):
            return known
        # Each multipart answer has a boundary of its own: the same frames, not the same bytes (RFC 9110 §8.8.1).
        weak = "W/" if chosen.multipart else ""
        headers = {"etag": f'{weak}"{etag}"', "cache-control": control, "vary": "accept, origin"}
        places = [f"{context.address(request)}{place(request.path_params)}/frames/{number}" for number in numbers]
        if len(numbers) > 1 and len(numbers) * _frame_bytes(row) > _TOGETHER:
            parts = self._one_by_one(row, numbers, places, chosen)
            return await unless_gone(request.receive, answers.streamed_parts(chosen.media_type, parts, headers))
        frames = context.content(row).peek(row, numbers) if _is_stored(row, chosen.syntax) else None
        if frames is None:
            frames = await unless_gone(request.receive, self._frames(row, numbers, chosen.syntax))
        if not chosen.multipart:
            return Response(frames[0], headers={**headers, "content-type": chosen.part_type})
        found = [(chosen.part_type, where, frame) for where, frame in zip(places, frames, strict=True)]
        return answers.parts(chosen.media_type, found, headers)

    async def _one_by_one(
        self, row: InstanceRow, numbers: Sequence[int], places: Sequence[str], chosen: accept.Frames
    ) -> AsyncIterator[tuple[str, str | None, AsyncIterator[bytes]]]:
        """Frames that are too many to be in memory together."""
        beyond = next((number for number in numbers if number > row.frames), None)
        if beyond is not None:
            raise NotFound("frame", str(beyond), f"There is no frame {beyond}; there are {row.frames}")
        for number, where in zip(numbers, places, strict=True):
            (frame,) = await self._frames(row, [number], chosen.syntax)
            yield chosen.part_type, where, at_hand(frame).read(0, len(frame))

    async def _frames(self, row: InstanceRow, numbers: Sequence[int], syntax: str) -> list[bytes]:
        frames = await self._context.content(row).frames(row, numbers)
        if _is_stored(row, syntax):
            return frames
        source = row.transfer_syntax
        native = not syntaxes.find(source).encapsulated
        facts = await self._context.facts(row)
        # ``Content.frames`` gives native frames little-endian and each from its first bit.
        source = accept.EXPLICIT_LITTLE if native else source
        work = [partial(transcode.transcode, frame, facts, source, syntax) for frame in frames]
        with self._context.workers.room(_COPIES * facts.nbytes):
            return [(await self._context.workers.run(each)).data for each in work]

    async def targets(self, row: InstanceRow) -> frozenset[str]:
        """The transfer syntaxes an instance can be converted to."""
        if row.pixel is None:
            return frozenset({accept.EXPLICIT_LITTLE, row.transfer_syntax})
        try:
            return _targets(await self._context.facts(row), row.transfer_syntax)
        except (NotFound, UnsupportedFormat):
            return frozenset()

    # -- bulk data ---------------------------------------------------------------------------------------------------

    async def bulk(self, request: Request) -> Response:
        """The value of an element, whole or a range of it."""
        context = self._context
        context.authorise(request)
        (row,) = await self._rows(request)
        path = request.path_params["path"]
        value = await context.content(row).value(row, path)
        wanted = self._accept(request)
        offers = (accept.Offer(accept.OCTETS, multipart=True), accept.Offer(accept.OCTETS))
        # A range is one of the value; of parts there is none, and the field is ignored (RFC 9110 §14.2).
        if "range" in request.headers or request.headers.get("accept", "*/*").strip() in {"", "*/*"}:
            offers = offers[::-1]
        try:
            offer = accept.choose(wanted, offers)
        except NotAcceptable:
            offer = accept.Offer(accept.OCTETS)  # viewers ask for the type of what the value holds: PDF, a profile
        headers = {
            "cache-control": context.cache_control,
            "vary": "accept, origin",
            "etag": f'"{context.etag(row, path)}"',
            "x-content-type-options": "nosniff",
        }
        if offer.multipart:
            headers["etag"] = f"W/{headers['etag']}"
            location = f"{context.address(request)}{place(request.path_params)}/bulk/{path}"
            return await answers.streamed_parts(accept.OCTETS, _alone(location, value), headers)
        return await ranged(request, value, {**headers, "content-type": accept.OCTETS, "accept-ranges": "bytes"})

    # -- pieces ------------------------------------------------------------------------------------------------------

    def _accept(self, request: Request) -> accept.Accept:
        return accept.parse(*_asked(request))

    async def _rows(self, request: Request) -> list[InstanceRow]:
        """The instances of the path, in order, that the caller may see. Raises NotFound when there are none."""
        context, path = self._context, request.path_params
        if "instance" in path:
            row = await context.index.instance(path["study"], path["series"], path["instance"])
            return [await context.check(request, row)]
        rows = await context.index.instances(path["study"], path.get("series"))
        return [await context.check(request, row) for row in rows]


_targets = functools.lru_cache(maxsize=256)(transcode.targets)


@functools.lru_cache(maxsize=256)
def _form(header: str | None, query: tuple[str, ...], stored: accept.Stored, *, several: bool) -> accept.Frames:
    """How frames are sent, for clients that ask alike."""
    return accept.frames(accept.parse(header, query), stored, 2 if several else 1)


def _asked(request: Request) -> tuple[str | None, tuple[str, ...]]:
    """The Accept field, several of them as one, and the ``accept`` parameters."""
    asked = tuple(value for name, value in parameters_of(request) if name == "accept")
    return header_of(request, b"accept") or None, asked


def _is_stored(row: InstanceRow, syntax: str) -> bool:
    """Whether frames are sent as ``Content.frames`` gives them."""
    native = not syntaxes.find(row.transfer_syntax).encapsulated
    return syntax == row.transfer_syntax or (native and syntax == accept.EXPLICIT_LITTLE)


def _frame_bytes(row: InstanceRow) -> int:
    """The most that a frame is likely to take."""
    if row.pixel is not None and row.pixel.length is not None:
        return row.pixel.length // max(row.frames, 1)
    return row.rows * row.columns * max(row.bits, 8) // 8 * _SAMPLES


def _pixels(row: InstanceRow) -> PixelData | None:
    return row.pixel and PixelData(row.pixel.tag, row.pixel.vr, row.pixel.offset, row.pixel.length)


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


async def _alone(location: str, value: Value) -> AsyncIterator[tuple[str, str | None, AsyncIterator[bytes]]]:
    yield accept.OCTETS, location, value.read(0, value.length)


async def ranged(request: Request, value: Value, headers: dict[str, str]) -> Response:
    """All of it, or the one range that was asked for; 416 for one that begins behind the end."""
    found, length = _RANGE.fullmatch(request.headers.get("range", "")), value.length
    start, stop, status = 0, length, 200
    if found is not None and found.groups() != ("", ""):
        first, last = found.groups()
        if first:
            start, stop = int(first), min(int(last) + 1 if last else length, length)
        else:
            start = max(0, length - int(last))
        if start >= stop:
            return Response(status_code=416, headers={**headers, "content-range": f"bytes */{length}"})
        headers, status = {**headers, "content-range": f"bytes {start}-{stop - 1}/{length}"}, 206
    pieces = await answers.begun(value.read(start, stop))
    if stop - start > _TOGETHER:
        return answers.Streamed(pieces, status, headers={**headers, "content-length": str(stop - start)})
    return Response(b"".join([piece async for piece in pieces]), status, headers)
