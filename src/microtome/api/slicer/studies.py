"""``/slicer/accessDICOMwebStudy`` and ``/slicer/open``: studies of a DICOMweb server, this one included, as volumes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import msgspec
from starlette.responses import Response

from microtome.api.slicer.context import Asked, SlicerContext, answered, done
from microtome.api.slicer.sending import place
from microtome.errors import CorruptData, InvalidRequest, MicrotomeError, UnsupportedFormat
from microtome.scene.calls.files import LoadFile
from microtome.scene.fetch import Allowed
from microtome.scene.study import MAX_SERIES, retrieve


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """A study at a server, in the words of the original. ``seriesUID``: only that series."""

    dicomWEBPrefix: str  # noqa: N815
    dicomWEBStore: str = ""  # noqa: N815
    studyUID: str  # noqa: N815
    seriesUID: str = ""  # noqa: N815
    accessToken: str = ""  # noqa: N815


async def access_study(context: SlicerContext, asked: Asked) -> Response:
    """Load a study of a DICOMweb server: ``dicomWEBPrefix``, ``dicomWEBStore``, ``studyUID``, ``accessToken``."""
    body = await asked.body()
    try:
        study = msgspec.json.decode(body, type=Study) if body else msgspec.convert(dict(asked.query), Study)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is no study: {error}", parameter="body") from error
    base = "/".join(part.strip("/") for part in (study.dicomWEBPrefix, study.dicomWEBStore) if part)
    return done(loadedNodeIDs=await _loaded(context, base, study.studyUID, study.seriesUID, study.accessToken))


async def open_url(context: SlicerContext, asked: Asked) -> Response:
    """Open ``url=slicer://viewer/?studyUID=...&dicomweb_endpoint=...``, as links of web pages ask for."""
    return await opened(context, asked, asked.query.get("url", ""))


async def opened(context: SlicerContext, asked: Asked, url: str) -> Response:
    """What is at a ``slicer:`` address. Raises InvalidRequest."""
    address = urlsplit(url)
    if address.scheme.lower() != "slicer":
        raise InvalidRequest("open takes slicer://viewer/?studyUID=...&dicomweb_endpoint=...", parameter="url")
    query = {name.lower(): values[0] for name, values in parse_qs(address.query, max_num_fields=50).items()}
    base, study = _either(query, "dicomweb_endpoint", "dicomweburl"), _either(query, "studyuid", "studyinstanceuid")
    if not base or not study:
        raise InvalidRequest("The address names no studyUID and dicomweb_endpoint", parameter="url")
    ids = await _loaded(
        context, base, study, _either(query, "seriesuid", "seriesinstanceuid"), query.get("access_token", "")
    )
    return answered(asked.request, {"success": True, "status": "success", "loadedNodeIDs": ids})


def _either(query: Mapping[str, str], *names: str) -> str:
    return next((query[name] for name in names if query.get(name)), "")


async def _loaded(context: SlicerContext, base: str, study: str, series: str, token: str) -> list[str]:
    """Fetch into a folder of the scene, one for each series; their nodes. Folders are removed then."""
    allowed = Allowed(context.hosts, context.private_hosts)
    ids: list[str] = []
    failed: MicrotomeError | None = None
    async with place(context, "study") as into:
        await asyncio.to_thread(into.mkdir)
        found = await retrieve(base, study, series, into, allowed, token=token, most=context.max_upload)
        for folder in found[:MAX_SERIES]:
            try:
                ids += (await context.scene.ask(LoadFile(path=str(folder), file_type="DicomFile"))).ids
            except (CorruptData, UnsupportedFormat) as error:  # reports and the like: the study has more
                failed = failed or error
    if not ids and failed is not None:
        raise failed
    return ids
