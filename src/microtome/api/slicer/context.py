"""What the family needs, built once; what a request of the compatible API asks for, and how it is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from microtome.api import conditional
from microtome.api.forwarded import Proxies
from microtome.api.requestlog import Kept
from microtome.api.slicer.guard import TOKEN
from microtome.errors import InvalidRequest, LimitExceeded
from microtome.scene.calls.base import Nodes
from microtome.scene.client import SceneClient

if TYPE_CHECKING:
    from microtome.api.slicer.sources import Sources

JSON = "application/json"
"""Exactly this, without a charset: clients of the original compare it as it is."""
MAX_PARAMETERS = 200
SMALL_BODY = 1 << 20
"""Bytes of a body that is no file: a script, a JSON object."""


@dataclass(frozen=True, slots=True)
class SlicerContext:
    """Services and settings of the family.

    ``files``: folder that the process of the scene reads uploads from, by names that begin with ``upload-``.
    ``hosts``: what may be downloaded from; ``private_hosts``: at private addresses, too. ``stop`` ends the server.
    ``exec_seconds``: 0 where scripts are not run. ``proxies``: those whose word on TLS counts.
    ``sources``: of volumes besides files. ``roots``: folders whose files clients may name. ``log``: the last requests
    where they are kept; ``admins``: subjects of those who may see them, where there is a login.
    """

    scene: SceneClient
    files: Callable[[], Path]
    stop: Callable[[], Awaitable[None]]
    hosts: tuple[str, ...] = ()
    private_hosts: bool = False
    exec_seconds: float = 0.0
    max_upload: int = 4 << 30
    proxies: Proxies = field(default_factory=Proxies)
    sources: Sources | None = None
    roots: tuple[str, ...] = ()
    log: Kept | None = None
    admins: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request below ``/slicer``. ``rest``: the path behind the command, such as ``/names`` of ``/mrml/names``.

    ``query``: first value of each parameter, without blanks around it; blank ones are not there.
    """

    request: Request
    rest: str
    query: Mapping[str, str]

    @property
    def method(self) -> str:
        """In upper case; HEAD is GET."""
        return "GET" if self.request.method == "HEAD" else self.request.method

    @property
    def token(self) -> bool:
        """Whether the request carried the token of the scene."""
        return bool(self.request.scope.get(TOKEN))

    @property
    def nodes(self) -> Nodes:
        """Which nodes ``id``, ``class`` and ``name`` mean."""
        return Nodes(id=self.query.get("id"), class_name=self.query.get("class"), name=self.query.get("name"))

    def number(self, name: str) -> float | None:
        """A parameter as a finite number; None when it is missing or none, as the original has it."""
        try:
            found = float(self.query[name])
        except (KeyError, ValueError):
            return None
        return found if abs(found) < 1e30 else None

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """A parameter as numbers separated by commas; None when it is missing. Raises InvalidRequest."""
        if name not in self.query:
            return None
        try:
            found = tuple(float(each) for each in self.query[name].split(",")[:64])
        except ValueError as error:
            raise InvalidRequest(f"{name} is numbers separated by commas", parameter=name) from error
        if not all(abs(each) < 1e30 for each in found):
            raise InvalidRequest(f"{name} is numbers separated by commas", parameter=name)
        return found

    async def body(self, most: int = SMALL_BODY) -> bytes:
        """What was sent. Raises LimitExceeded for more bytes than ``most``."""
        return await body_of(self.request, most)


Handler = Callable[[SlicerContext, Asked], Awaitable[Response]]


def asked(request: Request) -> Asked:
    """Read path and query as the original does. Raises InvalidRequest for too many parameters."""
    try:
        found = parse_qs(request.scope["query_string"].decode("latin-1"), max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise InvalidRequest(f"There are more than {MAX_PARAMETERS} parameters", parameter="query") from error
    query = {name: values[0].strip() for name, values in found.items()}
    return Asked(request, request.path_params.get("rest", ""), query)


async def body_of(request: Request, most: int) -> bytes:
    """The body of a request. Raises LimitExceeded for more bytes than ``most``."""
    length = request.headers.get("content-length", "")
    found = bytearray()
    if not (length.isdecimal() and int(length) > most):
        async for chunk in request.stream():
            found += chunk
            if len(found) > most:
                break
        else:
            return bytes(found)
    raise LimitExceeded(f"The body is larger than {most} bytes", limit="body", value=most)


def encoded(value: object) -> bytes:
    """JSON, of msgspec's structs too."""
    return msgspec.json.encode(value)


def answered(request: Request, value: object) -> Response:
    """200 with JSON; 304 when a GET named its ETag."""
    return whole(request, encoded(value), JSON)


def whole(request: Request, body: bytes, media_type: str, version: str = "") -> Response:
    """200 with an ETag (of ``version``, else of the bytes); 304 when it is known."""
    headers = {"cache-control": "no-cache"}
    if request.method in {"GET", "HEAD"}:
        etag = f'"{version or hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        headers["etag"] = etag
        if conditional.matches(conditional.asked(request.scope), etag.encode()):
            return Response(status_code=304, headers=headers)
    return Response(body, headers={**headers, "content-type": media_type})


def done(**more: object) -> Response:
    """``{"success": true}`` and more."""
    return Response(encoded({"success": True, **more}), headers={"content-type": JSON, "cache-control": "no-cache"})


def said(text: str) -> Response:
    """A sentence, as the original has it for some commands."""
    return Response(text, headers={"content-type": "text/plain", "cache-control": "no-cache"})
