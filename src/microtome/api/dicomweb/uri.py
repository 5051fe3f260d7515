"""WADO-URI (PS3.18 §9): one object, named by parameters; also the shorter form of 3D Slicer's server."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from microtome.api.dicomweb import accept, answers
from microtome.api.dicomweb.context import DicomwebContext
from microtome.api.dicomweb.qido import parameters_of
from microtome.api.dicomweb.rendered import Rendered, query_of
from microtome.api.dicomweb.rendering import rendering
from microtome.api.dicomweb.wado import Wado
from microtome.dicom import syntaxes
from microtome.dicom.render import KINDS, Viewport
from microtome.dicom.rows import InstanceRow, is_uid
from microtome.errors import InvalidRequest, NotAcceptable, NotFound

DICOM = "application/dicom"


class WadoUri:
    """``?requestType=WADO&studyUID=&seriesUID=&objectUID=``; ``objectUID`` or ``object`` alone will do.

    ``anonymous`` does the same without identities, for ``anonymize=yes``.
    """

    def __init__(
        self, context: DicomwebContext, wado: Wado, rendered: Rendered, anonymous: WadoUri | None = None
    ) -> None:
        self._context = context
        self._wado = wado
        self._rendered = rendered
        self._anonymous = anonymous

    async def retrieve(self, request: Request) -> Response:
        """The object as DICOM, or a picture of it."""
        self._context.authorise(request)
        parameters = dict(parameters_of(request))
        if parameters.get("requestType", "WADO" if "object" in parameters else "") != "WADO":
            raise InvalidRequest("requestType must be WADO", parameter="requestType")
        row = await self._row(request, parameters)
        if parameters.get("anonymize", "no") == "yes" and self._context.stand_in is None:
            if self._anonymous is None:
                raise NotAcceptable("This server does not anonymise objects; ask without anonymize")
            return await self._anonymous.in_place_of(request, row, parameters)
        return await self._answer(request, row, parameters)

    async def in_place_of(self, request: Request, row: InstanceRow, parameters: dict[str, str]) -> Response:
        """A stored object as it is shown here."""
        stand_in = self._context.stand_in
        return await self._answer(request, row if stand_in is None else await stand_in(row), parameters)

    async def _answer(self, request: Request, row: InstanceRow, parameters: dict[str, str]) -> Response:
        wanted = self._content_type(parameters, row)
        if wanted == DICOM:
            return await self._dicom(row, parameters)
        look = rendering(query_of(parameters), wanted)
        if "region" in parameters:
            look = replace(look, viewport=await self._region(parameters, row, look.viewport))
        number = parameters.get("frameNumber", "1")
        if not number.isdecimal() or len(number) > 9 or int(number) < 1:
            raise InvalidRequest("frameNumber is a whole number from 1", parameter="frameNumber")
        return await self._rendered.picture(request, row, int(number), look)

    async def _row(self, request: Request, parameters: dict[str, str]) -> InstanceRow:
        context = self._context
        uid = parameters.get("objectUID") or parameters.get("object") or ""
        if not is_uid(uid):
            raise InvalidRequest("objectUID must name an object by its SOP Instance UID", parameter="objectUID")
        row = await context.index.find_instance(uid)
        for name, own in (("studyUID", row.study_uid), ("seriesUID", row.series_uid)):
            if name in parameters and parameters[name] != own:
                raise NotFound("instance", uid)
        row = await context.index.instance(row.study_uid, row.series_uid, row.sop_uid)
        return await context.check(request, row)

    def _content_type(self, parameters: dict[str, str], row: InstanceRow) -> str:
        """What is asked for; images are pictures by default, other objects DICOM. Raises NotAcceptable."""
        one_frame = row.pixel is not None and row.frames == 1
        default = DICOM if "object" in parameters or not one_frame else "image/jpeg"
        text = parameters.get("contentType", "")
        asked = [each.partition(";")[0].strip().lower() for each in text.split(",") if each.strip()] or [default]
        possible = {DICOM, *(KINDS if row.pixel is not None else ())}
        for each in asked:
            if each == "*/*":
                return default
            if each in possible:
                return each
        raise NotAcceptable(f"The object cannot be had as {text[:100]}", available=tuple(sorted(possible)))

    async def _dicom(self, row: InstanceRow, parameters: dict[str, str]) -> Response:
        syntax = parameters.get("transferSyntax")
        if syntax is None:
            held = syntaxes.find(row.transfer_syntax)
            syntax = accept.EXPLICIT_LITTLE if held.implicit or held.big_endian else row.transfer_syntax
        elif syntax != row.transfer_syntax and syntax not in await self._wado.targets(row):
            raise NotAcceptable(f"The object cannot be had in the transfer syntax {syntax[:64]}")
        body = await self._wado.whole(row, syntax)
        headers = {"cache-control": self._context.cache_control, "x-content-type-options": "nosniff"}
        return answers.Streamed(await answers.begun(body), headers=headers, media_type=DICOM)

    async def _region(self, parameters: dict[str, str], row: InstanceRow, viewport: Viewport | None) -> Viewport:
        """``region``: left, top, right, bottom in parts of the whole image (§9.1.2.2.11)."""
        try:
            left, top, right, bottom = (float(each) for each in parameters["region"].split(","))
        except ValueError as error:
            raise InvalidRequest("region has four numbers from 0 to 1", parameter="region") from error
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise InvalidRequest("region has four numbers from 0 to 1", parameter="region")
        facts = await self._context.facts(row)
        width, height = (right - left) * facts.columns, (bottom - top) * facts.rows
        most = viewport or Viewport(max(1, round(width)), max(1, round(height)))
        return replace(most, region=(left * facts.columns, top * facts.rows, width, height))
