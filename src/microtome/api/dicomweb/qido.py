"""QIDO-RS (PS3.18 §10.6): what there is."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from microtome.api.dicomweb import accept, answers, xml
from microtome.api.dicomweb.context import DicomwebContext, place
from microtome.api.login import VISIBLE, visible_to
from microtome.caching import Cache
from microtome.dicom import query as queries
from microtome.dicom.index.base import Found, Match
from microtome.dicom.rows import Level
from microtome.dicom.slides import slide_key
from microtome.errors import InvalidRequest
from microtome.tiles.answer import key_of

OFFERS = (accept.Offer(accept.JSON), accept.Offer("application/json"), accept.Offer(accept.XML, multipart=True))
_BUDGET = 16 << 20


class _Found(NamedTuple):
    """Results as they go out, until the index changes."""

    document: answers.Document
    warnings: list[str]


class Qido:
    """The searches. ``level`` of a route is what it lists."""

    def __init__(self, context: DicomwebContext) -> None:
        self._context = context
        self._kept: Cache[str, _Found] = Cache(_BUDGET, weigh=lambda found: len(found.document.data))

    async def studies(self, request: Request) -> Response:
        """Studies."""
        return await self._search(request, Level.STUDY)

    async def series(self, request: Request) -> Response:
        """Series, of a study or of all."""
        return await self._search(request, Level.SERIES)

    async def instances(self, request: Request) -> Response:
        """Instances, of a study or series or of all."""
        return await self._search(request, Level.INSTANCE)

    async def _search(self, request: Request, level: Level) -> Response:
        context = self._context
        context.authorise(request)
        parameters = parameters_of(request)
        wanted = accept.parse(request.headers.get("accept"), [value for name, value in parameters if name == "accept"])
        offer = accept.choose(wanted, OFFERS)
        query = queries.parse(
            level,
            [(name, value) for name, value in parameters if name not in {"sig", "exp", "ct", "vt"}],
            study=request.path_params.get("study"),
            series=request.path_params.get("series"),
            maximum=context.limits.results,
        )
        address, index = context.address(request), context.index
        if offer.multipart or context.private:
            body, warnings = await self._found(request, query, address)
            if offer.multipart:
                return xml.answer(body, private=context.private)
            return answers.document(request, body, offer.media_type, private=True, warnings=warnings)
        coding, path = answers.accepted_coding(request), place(request.path_params)
        asked = request.scope["query_string"].decode("latin-1")
        told = (index.view, await index.changes(), level, path, asked, address, offer.media_type, coding)
        key = key_of(repr(told))

        async def made() -> _Found:
            body, warnings = await self._found(request, query, address)
            return _Found(answers.finished(body, offer.media_type, coding), warnings)

        found = await self._kept.get_or_compute(key, made)
        return answers.sent(
            request, found.document, offer.media_type, private=context.auth.enabled, warnings=found.warnings
        )

    async def _found(self, request: Request, query: queries.Query, address: str) -> tuple[bytes, list[str]]:
        """What the caller may see of the results, and what there is to say of them."""
        found = await self._context.index.search(query)
        matches = await self._visible(request, found)
        warnings = list(query.warnings)
        if found.more:
            warnings.append("There are more results; ask for the next ones with offset")
        return b"[" + b",".join(_with_url(match, address) for match in matches) + b"]", warnings

    async def _visible(self, request: Request, found: Found) -> list[Match]:
        if not self._context.private or VISIBLE not in request.scope:
            return list(found.matches)
        kept: list[Match] = []
        for match in found.matches:
            rows = await self._context.index.instances(match.study_uid, match.series_uid or None)
            keys = {slide_key(row.key) for row in rows if match.sop_uid in {"", row.sop_uid}}
            if len(await visible_to(request, sorted(keys))) == len(keys):
                kept.append(match)
        return kept


def _with_url(match: Match, address: str) -> bytes:
    """A result with its Retrieve URL (0008,1190)."""
    url = f"{address}/studies/{match.study_uid}"
    if match.series_uid:
        url += f"/series/{match.series_uid}"
    if match.sop_uid:
        url += f"/instances/{match.sop_uid}"
    return match.json[:-1] + b',"00081190":{"vr":"UR","Value":["%s"]}}' % url.encode("ascii", "replace")


def parameters_of(request: Request) -> list[tuple[str, str]]:
    """The query, decoded once; ``+`` is a space. Raises InvalidRequest for what is not UTF-8."""
    if not request.scope["query_string"]:
        return []
    try:
        text = request.scope["query_string"].decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except (UnicodeDecodeError, ValueError) as error:
        raise InvalidRequest(
            "The query is not percent-encoded UTF-8, or has too many fields", parameter="query"
        ) from error
