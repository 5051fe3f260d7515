"""QIDO-RS (PS3.18 §10.6): what there is."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from microtome.api.dicomweb import accept, answers, xml
from microtome.api.dicomweb.context import DicomwebContext
from microtome.api.login import visible_to
from microtome.dicom import query as queries
from microtome.dicom.index.base import Found, Match
from microtome.dicom.rows import Level
from microtome.dicom.slides import slide_key
from microtome.errors import InvalidRequest

OFFERS = (accept.Offer(accept.JSON), accept.Offer("application/json"), accept.Offer(accept.XML, multipart=True))


class Qido:
    """The searches. ``level`` of a route is what it lists."""

    def __init__(self, context: DicomwebContext) -> None:
        self._context = context

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
        found = await context.index.search(query)
        matches = await self._visible(request, found)
        address = context.address(request)
        warnings = list(query.warnings)
        if found.more:
            warnings.append("There are more results; ask for the next ones with offset")
        body = b"[" + b",".join(_with_url(match, address) for match in matches) + b"]"
        if offer.multipart:
            return xml.answer(body, private=context.private)
        private = context.private or context.auth.enabled
        return answers.document(request, body, offer.media_type, private=private, warnings=warnings)

    async def _visible(self, request: Request, found: Found) -> list[Match]:
        if not self._context.private:
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
    try:
        text = request.scope["query_string"].decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except (UnicodeDecodeError, ValueError) as error:
        raise InvalidRequest(
            "The query is not percent-encoded UTF-8, or has too many fields", parameter="query"
        ) from error
