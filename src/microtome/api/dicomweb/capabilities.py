"""What the server can do, for programs: OPTIONS of every path, and a description of all (PS3.18 §8.9)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

import orjson
from starlette.requests import Request
from starlette.responses import Response

from microtome.api.dicomweb import accept, answers
from microtome.api.dicomweb.context import DicomwebContext
from microtome.errors import NotAcceptable

Handler = Callable[[Request], Awaitable[Response]]
WADL = "application/vnd.sun.wadl+xml"
_OFFERS = (accept.Offer(WADL), accept.Offer(accept.JSON), accept.Offer("application/json"))
_DICOM_PART = f'multipart/related; type="{accept.DICOM}"'
_XML_PART = f'multipart/related; type="{accept.XML}"'
_TEXTS = (accept.JSON, _XML_PART)
_PICTURES = tuple(offer.media_type for offer in accept.RENDERED)
_WHOLE = (_DICOM_PART, accept.DICOM, accept.ZIP)
_PARTS = {"{study}": "StudyInstanceUID", "{series}": "SeriesInstanceUID", "{instance}": "SOPInstanceUID"}
_KINDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (r"/(?:.*/)?(?:studies|series|instances)", "Search", _TEXTS),
    (r".*/metadata", "RetrieveMetadata", _TEXTS),
    (r".*/rendered", "RetrieveRendered", _PICTURES),
    (r".*/thumbnail", "RetrieveThumbnail", _PICTURES),
    (r".*/frames/\{frames\}", "RetrieveFrames", ('multipart/related; type="application/octet-stream"', "image/*")),
    (r".*/bulk/.*", "RetrieveBulkdata", ('multipart/related; type="application/octet-stream"', accept.OCTETS)),
    (r"/", "RetrieveURI", (accept.DICOM, *_PICTURES)),
    (r".*", "Retrieve", _WHOLE),
)
"""Which paths are what, the first that fits, and what is sent of them."""
_STORED = (_DICOM_PART, f'multipart/related; type="{accept.JSON}"', _XML_PART)


class Capabilities:
    """``methods`` are those of each path, below the root of the family."""

    def __init__(self, context: DicomwebContext, methods: Mapping[str, Sequence[str]]) -> None:
        self._context = context
        self._methods = methods

    def options(self, path: str) -> Handler:
        """The answer to OPTIONS of a path: its methods; of the root also what there is below it."""
        allow = ", ".join(self._methods[path])

        async def allowed(request: Request) -> Response:
            if path != "/":
                return Response(status_code=204, headers={"allow": allow})
            response = self._description(request)
            response.headers["allow"] = allow
            return response

        return allowed

    def or_else(self, retrieve: Handler) -> Handler:
        """GET of the root: what there is, when a description is asked for by its type and nothing else is."""

        async def described(request: Request) -> Response:
            asked = request.headers.get("accept", "").lower()
            if request.scope["query_string"] or not any(offer.media_type in asked for offer in _OFFERS):
                return await retrieve(request)
            self._context.authorise(request)
            return self._description(request)

        described.__doc__ = retrieve.__doc__
        return described

    def _description(self, request: Request) -> Response:
        try:
            offer = accept.choose(accept.parse(", ".join(request.headers.getlist("accept")) or None), _OFFERS)
        except NotAcceptable:
            offer = _OFFERS[0]  # OPTIONS of a browser names nothing of use
        resources = [_resource(path, methods) for path, methods in self._methods.items()]
        base = self._context.address(request) + "/"
        if offer.media_type == WADL:
            body = "".join(_wadl(base, resources)).encode()
        else:
            body = orjson.dumps({"application": {"resources": {"base": base, "resource": resources}}})
        private = self._context.private or self._context.auth.enabled
        return answers.document(request, body, offer.media_type, private=private)


def _resource(path: str, methods: Sequence[str]) -> dict[str, Any]:
    _, name, sent = next(kind for kind in _KINDS if re.fullmatch(kind[0], path))
    found: list[dict[str, Any]] = [{"name": "GET", "id": name, "response": list(sent)}]
    if "POST" in methods:
        found.append({"name": "POST", "id": "Store", "request": list(_STORED), "response": list(_TEXTS)})
    for ours, theirs in _PARTS.items():
        path = path.replace(ours, f"{{{theirs}}}")
    return {"path": path.removeprefix("/").replace(":path", ""), "method": found}


def _wadl(base: str, resources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The description in the Web Application Description Language (W3C submission of 31 August 2009)."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<application xmlns="http://wadl.dev.java.net/2009/02">'
    yield f"<resources base={quoteattr(base)}>"
    for resource in resources:
        yield f"<resource path={quoteattr(resource['path'])}>"
        for method in resource["method"]:
            yield f"<method name={quoteattr(method['name'])} id={quoteattr(method['id'])}>"
            for side in ("request", "response"):
                if side in method:
                    kinds = "".join(f"<representation mediaType={quoteattr(each)}/>" for each in method[side])
                    yield f"<{side}>{kinds}</{side}>"
            yield "</method>"
        yield "</resource>"
    yield "</resources></application>\n"
