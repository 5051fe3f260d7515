"""What the family needs, built once; and what every request of it shares: permission, address, conditions."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from microtome.api.login import visible_to
from microtome.api.raw import raw_path
from microtome.auth.base import Authenticator, Claim
from microtome.dicom.content import Content
from microtome.dicom.image import ImageFacts
from microtome.dicom.index.base import Index
from microtome.dicom.receive import Receiver
from microtome.dicom.rows import SLIDE, InstanceRow
from microtome.dicom.slides import slide_key
from microtome.errors import NotFound
from microtome.storage.base import Store

ROOT = "/dicom"
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")

Run = Callable[[Callable[[], object]], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for: frames at once, results of a search, bytes of a stored instance and message."""

    frames: int = 1000
    results: int = 10_000
    instance_bytes: int = 16 << 30
    message_bytes: int = 64 << 30


@dataclass(frozen=True, slots=True)
class DicomwebContext:
    """Services and settings of the family. ``receiver`` writes what is sent into ``store``; None where
    nothing may be sent. ``public_url`` is where clients reach the server, "" when nobody told.
    """

    index: Index
    files: Content
    slides: Content
    auth: Authenticator
    facts: Callable[[InstanceRow], Awaitable[ImageFacts]]
    limits: Limits = field(default_factory=Limits)
    store: Store | None = None
    receiver: Receiver | None = None
    public_url: str = ""
    root_path: str = ""
    cache_max_age: int = 3600
    private: bool = False

    def content(self, row: InstanceRow) -> Content:
        """Where an instance is read from."""
        return self.slides if row.key.startswith(SLIDE) else self.files

    def authorise(self, request: Request) -> None:
        """Check the signature of a request where URLs must be signed. Raises Unauthenticated."""
        self.auth.authorise(Claim(raw_path(request.scope), request.scope["query_string"]))

    async def check(self, request: Request, row: InstanceRow) -> InstanceRow:
        """The row when the caller may see it. Raises NotFound for others: they do not exist for them."""
        key = slide_key(row.key)
        if not await visible_to(request, [key]):
            raise NotFound("instance", row.sop_uid)
        return row

    def address(self, request: Request) -> str:
        """``https://host/dicom``, as clients reach it: the configured URL, else the Host header if it is one."""
        if self.public_url:
            return self.public_url.rstrip("/") + ROOT
        host = request.headers.get("host", "")
        root = request.scope.get("root_path", "").removesuffix(ROOT)
        if not _HOST.fullmatch(host):
            return root + ROOT
        return f"{request.url.scheme}://{host}{root}{ROOT}"

    @property
    def cache_control(self) -> str:
        """For what never changes under its URL: pixels of an instance."""
        return f"{'private' if self.private or self.auth.enabled else 'public'}, max-age={self.cache_max_age}"


def place(parameters: Mapping[str, str], *, level: str = "") -> str:
    """``/studies/S/series/E/instances/I``, as far as there is any."""
    parts = (("study", "studies"), ("series", "series"), ("instance", "instances"))
    return "".join(f"/{name}/{parameters[key]}" for key, name in parts if key in parameters)
