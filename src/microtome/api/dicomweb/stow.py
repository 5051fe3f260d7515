"""STOW-RS (PS3.18 §10.5): instances into the server, each with its own outcome."""

from __future__ import annotations

import asyncio
import errno
import zlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, BinaryIO, cast

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from microtome.api.dicomweb import accept
from microtome.api.dicomweb.context import DicomwebContext
from microtome.api.dicomweb.multipart import Limits, Parser, PartBegins, PartData, related
from microtome.api.dicomweb.xml import documents
from microtome.api.disconnect import ClientGone
from microtome.dicom.index.ingest import joined
from microtome.dicom.json import from_json
from microtome.dicom.receive import REASONS, Accepted, Failure, Outcome, Receiver
from microtome.dicom.xml import to_xml
from microtome.errors import LimitExceeded, UnsupportedFormat
from microtome.storage.base import Store

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OFFERS = (accept.Offer(accept.JSON), accept.Offer("application/json"), accept.Offer(accept.XML, multipart=True))
_PIECE = 1 << 20
_MOST_RATIO = 200
"""A body that grows more than so many times when it is inflated is a bomb."""


class Stow:
    """Takes messages of parts, of any size, in constant memory."""

    def __init__(self, context: DicomwebContext, store: Store, receiver: Receiver) -> None:
        self._context = context
        self._store = store
        self._receiver = receiver

    async def store(self, request: Request) -> Response:
        """Store every part that can be; 200 when all are, 202 when some are, 409 when none is."""
        self._context.authorise(request)
        offer = accept.choose(accept.parse(", ".join(request.headers.getlist("accept")) or None), _OFFERS)
        message = related(request.headers.get("content-type"))
        _check_coding(request)
        if message.root not in {"", accept.DICOM}:
            raise UnsupportedFormat("Parts must be application/dicom", feature=message.root)
        limits = self._context.limits
        parser = Parser(message.boundary, Limits(total=limits.message_bytes, part=limits.instance_bytes))
        study = request.path_params.get("study")
        outcomes: list[Outcome] = []
        accepted: list[Accepted] = []
        try:
            async for outcome, found in self._parts(request, parser, study):
                outcomes.append(outcome)
                if found is not None:
                    accepted.append(found)
        finally:
            # What has its name is there, whatever happened to the rest of the message.
            if accepted:
                await asyncio.shield(self._index(accepted))
        return self._answer(request, offer, outcomes)

    async def _parts(
        self, request: Request, parser: Parser, study: str | None
    ) -> AsyncIterator[tuple[Outcome, Accepted | None]]:
        receiver, body = self._receiver, _inflated(request)
        pending: list[Any] = []

        async def next_event() -> Any:
            while not pending:
                data = await anext(body, None)
                pending.extend(parser.close() if data is None else parser.feed(data))
                if data is None and not pending:
                    return None
            return pending.pop(0)

        while (event := await next_event()) is not None:
            if not isinstance(event, PartBegins):
                continue
            kind = event.headers.get("content-type", accept.DICOM).partition(";")[0].strip().lower()
            with receiver.incoming() as file:
                failure: Failure | None = None if kind == accept.DICOM else "cannot understand"
                while isinstance(event := await next_event(), PartData):
                    failure = failure or await _written(receiver, file, event.data)
                if failure is not None:
                    yield Outcome(failure=failure), None
                    continue
                try:
                    yield await asyncio.to_thread(receiver.accept, file, study)
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
                    yield Outcome(failure="resources"), None

    async def _index(self, accepted: list[Accepted]) -> None:
        batches = [each.at(await self._store.head(each.key)) for each in accepted]
        await self._context.index.put(joined(batches))

    def _answer(self, request: Request, offer: accept.Offer, outcomes: list[Outcome]) -> Response:
        """The Store Instances Response Module (PS3.18 §I.2)."""
        address = self._context.address(request)
        done = [each for each in outcomes if each.failure is None]
        failed = [each for each in outcomes if each.failure is not None]
        body: dict[str, Any] = {}
        studies = {each.study_uid for each in done}
        if len(studies) == 1:
            body["00081190"] = _element("UR", f"{address}/studies/{studies.pop()}")
        if failed:
            body["00081198"] = {"vr": "SQ", "Value": [_failed(each) for each in failed]}
        if done:
            body["00081199"] = {"vr": "SQ", "Value": [_stored(each, address) for each in done]}
        full = any(each.failure == "resources" for each in failed)
        status = 200 if not failed else 202 if done else 507 if full else 409
        if offer.multipart:
            response = documents([to_xml(from_json(body, {}))], private=True)
            response.status_code = status
            return response
        return Response(orjson.dumps(body), status, {"cache-control": "no-store"}, offer.media_type)


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


async def _written(receiver: Receiver, file: BinaryIO, data: bytes) -> Failure | None:
    try:
        await asyncio.to_thread(partial(receiver.write, file, data))
    except OSError as error:
        if error.errno not in _FULL:
            raise
        return "resources"
    return None


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
                piece = inflate.decompress(data, _PIECE)
                given += len(piece)
                if given > _PIECE and given > taken * _MOST_RATIO:
                    raise LimitExceeded("The body is far larger than what was sent", limit="inflated body")
                yield piece
                data = inflate.unconsumed_tail
        if inflate is not None:
            yield inflate.flush()
    except zlib.error as error:
        raise UnsupportedFormat("The body is not gzip", feature="gzip") from error
    except ClientDisconnect as error:
        raise ClientGone from error
