"""What the family needs, built once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from microtome.api.cors import Cors
from microtome.auth.base import Authenticator, Claim, Grant
from microtome.catalog.base import Catalog
from microtome.dicom.overlays.service import Overlays
from microtome.model import SlideInfo
from microtome.tiles.service import TileService

Headers = list[tuple[bytes, bytes]]


class StaticFile(Protocol):
    """A file that pages load."""

    @property
    def body(self) -> bytes:
        """Its bytes."""
        ...

    @property
    def media_type(self) -> str:
        """Its type, charset included."""
        ...

    @property
    def etag(self) -> str:
        """Its quoted ETag."""
        ...


class Pages(Protocol):
    """The web pages; ``microtome.viewer.pages`` is one."""

    def slide_page(self, slide_id: str, info: SlideInfo, *, config: Mapping[str, Any]) -> str:
        """The viewer of a slide."""
        ...

    def catalogue_page(self, config: Mapping[str, Any]) -> str:
        """The catalogue."""
        ...

    def error_page(self, status: int, title: str, message: str, *, config: Mapping[str, Any]) -> str:
        """What a person sees in place of a viewer."""
        ...

    def describe(self, slide_id: str, info: SlideInfo) -> dict[str, Any]:
        """A slide as JSON: the documented keys first, then ours."""
        ...

    def static_files(self) -> Mapping[str, StaticFile]:
        """Files by their URL path."""
        ...

    def content_security_policy(self, frame_ancestors: str) -> str:
        """The policy the pages are written for."""
        ...


@dataclass(frozen=True, slots=True)
class StreamerContext:
    """Services and settings of the family. ``private``: pages belong to whoever asked for them.

    ``parts``: which of ``openapi.SLIDES`` and ``openapi.PAGES`` are served. ``elsewhere``: (title, path) of pages of
    other families, for whoever looks for slides where there are none.
    """

    service: TileService
    catalog: Catalog
    auth: Authenticator
    cors: Cors
    pages: Pages
    default_quality: int = 80
    cache_max_age: int = 3600
    public_view: bool = False
    frame_ancestors: str = "'self'"
    root_path: str = ""
    version: str = ""
    private: bool = False
    parts: frozenset[str] = frozenset({"slides", "pages"})
    elsewhere: tuple[tuple[str, str], ...] = ()
    overlays: Overlays | None = None
    """What was marked on slides; None where there is no index of DICOM."""
    wall: Callable[[], float] = field(default=time.time)

    def grant(self, path: bytes, query: bytes, slide_id: str | None = None) -> Grant:
        """Authorise the bytes of a request line. Raises Unauthenticated."""
        return self.auth.authorise(Claim(path, query, slide_id))

    def cache_control(self, grant: Grant) -> bytes:
        """Who may keep an answer, and for how long: never longer than its authorisation lasts."""
        age = self.cache_max_age
        if grant.expires is not None:
            age = max(0, min(age, int(grant.expires - self.wall())))
        return b"%s, max-age=%d" % (b"private" if grant.private else b"public", age)
