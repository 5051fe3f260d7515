"""STOW-RS (PS3.18 §10.5): instances into the server, each with its own outcome."""

from __future__ import annotations

import asyncio
import errno
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from microtome.api.dicomweb import accept, media
from microtome.api.dicomweb.context import DicomwebContext
from microtome.api.dicomweb.multipart import Event, Limits, Parser, PartBegins, PartData, PartEnds, related
from microtome.api.dicomweb.xml import documents
from microtome.api.disconnect import ClientGone
from microtome.dicom.assemble import Part, assemble
from microtome.dicom.index.ingest import joined
from microtome.dicom.json import from_json
from microtome.dicom.receive import REASONS, Accepted, Failure, Incoming, Outcome, Receiver
from microtome.dicom.rows import SOP_CLASS, SOP_INSTANCE, is_uid
from microtome.dicom.xml import as_json, to_xml
from microtome.errors import CorruptData, LimitExceeded, StorageUnavailable, UnsupportedFormat
from microtome.storage.base import Store
from microtome.telemetry import logger

T = TypeVar("T")
Result = tuple[Outcome, Accepted | None]
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OFFERS = (accept.Offer(accept.JSON), accept.Offer("application/json"), accept.Offer(accept.XML, multipart=True))
_METADATA = frozenset({accept.JSON, accept.XML})
_PIECE = 1 << 20
_AT_ONCE = 256
"""Instances that are put into the index together."""
_SHORTEST = 132
"""Bytes of a file without any data element; parts that are shorter do not touch the disk."""
_MOST_METADATA = 32 << 20
"""Bytes of the metadata of one message, which is held in memory; of bulk data there may be more."""
_MOST_RATIO = 200
"""A body that grows more than so many times when it is inflated is a bomb."""


class _Full(Exception):
    """There is no space left on the disk."""


class Stow:
    """Takes messages of parts, of any size, in constant memory."""

    def __init__(self, context: DicomwebContext, store: Store, receiver: Receiver) -> None:
        self._context = context
        self._store = store
        self._receiver = receiver

    async def store(self, request: Request) -> Response:
        """Store every part that can be; 200 when all are, 202 when some are, 409 when none is, 507 for a full disk."""
        self._context.authorise(request)
        offer = accept.choose(accept.parse(", ".join(request.headers.getlist("accept")) or None), _OFFERS)
        message = related(request.headers.get("content-type"))
        _check_coding(request)
        if message.root not in {"", accept.DICOM, *_METADATA}:
            raise UnsupportedFormat(
                "Parts must be application/dicom, or metadata as application/dicom+json or +xml with bulk data",
                feature=message.root,
            )
        limits = self._context.limits
        parser = Parser(message.boundary, Limits(total=limits.message_bytes, part=limits.instance_bytes))
        incoming = _Message(self._receiver, _events(request, parser), message.root, request.path_params.get("study"))
        outcomes: list[Outcome] = []
        waiting: list[tuple[Outcome, Accepted]] = []
        try:
            async for outcome, accepted in incoming.results():
                if accepted is None:
                    outcomes.append(outcome)
                else:
                    waiting.append((outcome, accepted))
                if len(waiting) == _AT_ONCE:
                    outcomes += await asyncio.shield(self._indexed(waiting))
                    waiting = []
        finally:
            # What has its name is there, whatever happened to the rest of the message.
            if waiting:
                outcomes += await asyncio.shield(self._indexed(waiting))
        return self._answer(request, offer, outcomes)

    async def _indexed(self, waiting: list[tuple[Outcome, Accepted]]) -> list[Outcome]:
        try:
            batches = [each.at(await self._store.head(each.key)) for _, each in waiting]
            await self._context.index.put(joined(batches))
        except StorageUnavailable as error:
            if not error.permanent:
                raise
            return [replace(outcome, failure="resources") for outcome, _ in waiting]
        return [outcome for outcome, _ in waiting]

    def _answer(self, request: Request, offer: accept.Offer, outcomes: list[Outcome]) -> Response:
        """The Store Instances Response Module (PS3.18 §I.2)."""
        address = self._context.address(request)
        done = [each for each in outcomes if each.failure is None]
        failed = [each for each in outcomes if each.failure is not None]
        body: dict[str, Any] = {}
        studies = {each.study_uid for each in done}
        if len(studies) == 1:
            body["00081190"] = _element("UR", f"{address}/studies/{studies.pop()}")
        if named := [each for each in failed if each.sop_uid]:
            body["00081198"] = {"vr": "SQ", "Value": [_failed(each) for each in named]}
        if done:
            body["00081199"] = {"vr": "SQ", "Value": [_stored(each, address) for each in done]}
        if others := [each for each in failed if not each.sop_uid]:
            body["0008119A"] = {"vr": "SQ", "Value": [_failed(each) for each in others]}
        full = any(each.failure == "resources" for each in failed)
        status = 200 if not failed else 202 if done else 507 if full else 409
        if offer.multipart:
            response = documents([to_xml(from_json(body, {}))], private=True)
            response.status_code = status
            return response
        return Response(orjson.dumps(body), status, {"cache-control": "no-store"}, offer.media_type)


class _Message:
    """The parts of one message: files, or metadata and the bulk data it names."""

    def __init__(self, receiver: Receiver, events: AsyncIterator[Event], root: str, study: str | None) -> None:
        self._receiver = receiver
        self._events = events
        self._root = root
        self._study = study
        self._metadata: list[tuple[str, bytes]] = []
        self._parts: dict[str, list[Part]] = {}
        self._values: Incoming | None = None
        self._full = False

    async def results(self) -> AsyncIterator[Result]:
        """What became of each instance, and of each part that is none."""
        try:
            async for event in self._events:
                if isinstance(event, PartBegins) and (result := await self._part(event)):
                    yield result
            for kind, text in self._metadata:
                found = await asyncio.to_thread(partial(_documents, kind, text))
                for document in found or [None]:
                    yield await self._assembled(document)
        finally:
            if self._values is not None:
                await asyncio.to_thread(self._values.close)

    async def _part(self, begins: PartBegins) -> Result | None:
        """Take in a part. None when it is metadata or bulk data, whose instances come when all is there."""
        found = media.parse(begins.headers.get("content-type", self._root or accept.DICOM))
        kind = found.name if found is not None else ""
        content, location = self._content(), begins.headers.get("content-location", "")
        try:
            if kind == accept.DICOM:
                return await self._file(content)
            if self._root in _METADATA and kind == self._root:
                text = b"".join([data async for data in content])
                held = len(text) + sum(len(each) for _, each in self._metadata)
                if held > _MOST_METADATA:
                    raise LimitExceeded("The metadata of the message is too long", limit="metadata", value=held)
                self._metadata.append((kind, text))
                return None
            if self._root in _METADATA and location and found is not None:
                await self._value(location, found, content)
                return None
        except _Full:
            self._full |= kind != accept.DICOM
            return Outcome(failure="resources"), None
        finally:
            async for _ in content:
                pass
        return Outcome(failure="cannot understand"), None

    async def _content(self) -> AsyncIterator[bytes]:
        """The bytes of the part that has begun, in pieces that are worth a trip to a thread."""
        held: list[bytes] = []
        size = 0
        async for event in self._events:
            if isinstance(event, PartEnds):
                break
            if isinstance(event, PartData):
                held.append(event.data)
                size += len(event.data)
            if size >= _PIECE:
                yield b"".join(held)
                held, size = [], 0
        if held:
            yield b"".join(held)

    async def _file(self, content: AsyncIterator[bytes]) -> Result:
        first = await anext(content, b"")
        if len(first) < _SHORTEST:
            return Outcome(failure="cannot understand"), None
        second = await anext(content, b"")
        if not second:

            def whole() -> Result:
                file = self._receiver.begin()
                try:
                    file.write(first)
                    return self._receiver.accept(file, self._study)
                finally:
                    file.close()

            return await _in_thread(whole)
        file = await _in_thread(self._receiver.begin)
        try:
            await _in_thread(partial(file.write, first + second))
            async for data in content:
                await _in_thread(partial(file.write, data))
            return await _in_thread(partial(self._receiver.accept, file, self._study))
        finally:
            await asyncio.to_thread(file.close)

    async def _value(self, location: str, kind: media.MediaType, content: AsyncIterator[bytes]) -> None:
        if self._values is None:
            self._values = await _in_thread(self._receiver.begin)
        begin = self._values.size
        async for data in content:
            await _in_thread(partial(self._values.write, data))
        syntax = kind.parameters.get("transfer-syntax", "")
        part = Part(begin, self._values.size - begin, kind.name, syntax)
        self._parts.setdefault(location, []).append(part)

    async def _assembled(self, document: dict[str, Any] | None) -> Result:
        """An instance out of its metadata and what was sent for it."""
        if document is None:
            return Outcome(failure="cannot understand"), None
        told = Outcome(_uid(document, SOP_CLASS), _uid(document, SOP_INSTANCE))
        if self._full:
            return replace(told, failure="resources"), None

        def made() -> Result:
            file = self._receiver.begin()
            values = self._values or file
            try:
                assemble(document, self._parts, values.readable, file.write)
                return self._receiver.accept(file, self._study)
            finally:
                file.close()

        try:
            return await _in_thread(made)
        except (_Full, LimitExceeded):
            return replace(told, failure="resources"), None
        except UnsupportedFormat:
            return replace(told, failure="transfer syntax"), None
        except CorruptData:
            return replace(told, failure="cannot understand"), None


def _documents(kind: str, text: bytes) -> list[dict[str, Any] | None]:
    """The data sets of a part of metadata in the JSON model; None for what is none."""
    try:
        found: object = as_json(text) if kind == accept.XML else orjson.loads(text)
    except (CorruptData, LimitExceeded, ValueError):
        return [None]
    several = cast("list[object]", found) if isinstance(found, list) else [found]
    return [cast("dict[str, Any]", each) if isinstance(each, dict) else None for each in several]


def _uid(document: dict[str, Any], tag: str) -> str:
    attribute = document.get(tag)
    values = cast("dict[str, Any]", attribute).get("Value") if isinstance(attribute, dict) else None
    found = cast("list[object]", values)[0] if isinstance(values, list) and values else None
    return found if isinstance(found, str) and is_uid(found) else ""


def _element(vr: str, value: object) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _failed(outcome: Outcome) -> dict[str, Any]:
    reason = _element("US", REASONS[cast("Failure", outcome.failure)])
    named = {"00081150": outcome.sop_class, "00081155": outcome.sop_uid}
    return {tag: _element("UI", uid) for tag, uid in named.items() if uid} | {"00081197": reason}


def _stored(outcome: Outcome, address: str) -> dict[str, Any]:
    place = f"{address}/studies/{outcome.study_uid}/series/{outcome.series_uid}/instances/{outcome.sop_uid}"
    return {
        "00081150": _element("UI", outcome.sop_class),
        "00081155": _element("UI", outcome.sop_uid),
        "00081190": _element("UR", place),
    }


async def _in_thread(work: Callable[[], T]) -> T:
    """The result of what blocks. Raises _Full, StorageUnavailable for whatever else a disk refuses."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        if error.errno in _FULL:
            raise _Full from error
        logger.error("What is received cannot be written: %s", error)
        raise StorageUnavailable("What was sent cannot be written to the disk of the server") from error


async def _events(request: Request, parser: Parser) -> AsyncIterator[Event]:
    """The message as it comes."""
    async for data in _inflated(request):
        for event in parser.feed(data):
            yield event
    for event in parser.close():
        yield event


def _check_coding(request: Request) -> str:
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"identity", "gzip", "x-gzip"}:
        raise UnsupportedFormat(f"Bodies in the coding {coding[:40]} are not read; use gzip or none", feature=coding)
    return coding


async def _inflated(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces, without its gzip coding. Raises UnsupportedFormat for other codings, LimitExceeded."""
    inflate = None if _check_coding(request) == "identity" else zlib.decompressobj(31)
    taken = given = 0
    try:
        async for data in request.stream():
            if inflate is None:
                yield data
                continue
            taken += len(data)
            while data:
                if inflate.eof:  # several members are one body (RFC 1952 §2.2)
                    inflate = zlib.decompressobj(31)
                piece = await asyncio.to_thread(inflate.decompress, data, _PIECE)
                given += len(piece)
                if given > _PIECE and given > taken * _MOST_RATIO:
                    raise LimitExceeded("The body is far larger than what was sent", limit="inflated body")
                yield piece
                data = inflate.unconsumed_tail or inflate.unused_data
        if inflate is not None and not inflate.eof:
            raise UnsupportedFormat("The gzip body breaks off", feature="gzip")
    except zlib.error as error:
        raise UnsupportedFormat("The body is not gzip", feature="gzip") from error
    except ClientDisconnect as error:
        raise ClientGone from error
