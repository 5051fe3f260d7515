"""What the family needs, built once; and what every request of it shares: permission, address, conditions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from microtome.api.forwarded import Proxies
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
from microtome.tiles.answer import key_of
from microtome.tiles.workers import RenderWorkers

ROOT = "/dicom"

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
    workers: RenderWorkers
    limits: Limits = field(default_factory=Limits)
    store: Store | None = None
    receiver: Receiver | None = None
    public_url: str = ""
    proxies: Proxies = field(default_factory=Proxies)
    root_path: str = ""
    cache_max_age: int = 3600
    private: bool = False
    deidentified: DicomwebContext | None = None
    """The same without identities, for whom they are hidden from."""
    stand_in: Callable[[InstanceRow], Awaitable[InstanceRow]] | None = None
    """Where identities are hidden: the instance shown in place of a stored one."""

    def content(self, row: InstanceRow) -> Content:
        """Where an instance is read from."""
        return self.slides if row.key.startswith(SLIDE) else self.files

    def etag(self, row: InstanceRow, *what: object) -> str:
        """Names something of an instance, as this context shows it."""
        return key_of("\0".join(map(str, (self.index.view, row.key, row.version, row.sop_uid, *what))))

    def authorise(self, request: Request) -> None:
        """Check the signature of a request where URLs must be signed. Raises Unauthenticated."""
        # What is signed is the whole path below the proxy: the family's own root is no proxy's.
        scope = {**request.scope, "root_path": request.scope.get("root_path", "").removesuffix(ROOT)}
        self.auth.authorise(Claim(raw_path(scope), scope["query_string"]))

    async def check(self, request: Request, row: InstanceRow) -> InstanceRow:
        """The row when the caller may see it. Raises NotFound for others: they do not exist for them."""
        key = slide_key(row.key)
        if not await visible_to(request, [key]):
            raise NotFound("instance", row.sop_uid)
        return row

    def address(self, request: Request) -> str:
        """``https://host/dicom``, as clients reach it: the configured URL, else what the request's headers say."""
        if self.public_url:
            return self.public_url.rstrip("/") + ROOT
        return self.proxies.origin(request.scope, request.scope.get("root_path", "").removesuffix(ROOT)) + ROOT

    @property
    def cache_control(self) -> str:
        """For what never changes under its URL: pixels of an instance."""
        return f"{'private' if self.private or self.auth.enabled else 'public'}, max-age={self.cache_max_age}"


def header_of(request: Request, name: bytes) -> str:
    """A header, joined by commas where there are several; "" when there is none."""
    found = [value for key, value in request.scope["headers"] if key == name]
    return (found[0] if len(found) == 1 else b", ".join(found)).decode("latin-1")


def place(parameters: Mapping[str, str], *, level: str = "") -> str:
    """``/studies/S/series/E/instances/I``, as far as there is any."""
    parts = (("study", "studies"), ("series", "series"), ("instance", "instances"))
    return "".join(f"/{name}/{parameters[key]}" for key, name in parts if key in parameters)
