"""What the family needs, built once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from starlette.requests import Request

from microtome.api.raw import raw_path
from microtome.auth.base import Authenticator, Claim
from microtome.auth.policy import AccessPolicy
from microtome.catalog.addresses import relative
from microtome.catalog.base import MappedSlide, Mapper
from microtome.errors import NotFound
from microtome.model import SlideInfo, SlideRecord
from microtome.storage.base import Store
from microtome.tiles.pictures import PictureService

T = TypeVar("T")


class Policy(Protocol):
    """Who is there, and which slides they may see."""

    async def authenticate(self, request: Request) -> Any:
        """The principal of a request. Raises Unauthenticated, Forbidden."""
        ...

    async def allows(self, principal: Any, slide_id: str, info: SlideInfo | None = None) -> bool:
        """Whether the principal may see a slide. Raises Unauthenticated, Forbidden."""
        ...

    def private(self) -> bool:
        """Whether answers belong to one principal, so that shared caches must not keep them."""
        ...


class TokenPolicy:
    """Bearer tokens of a provider of logins."""

    def __init__(self, policy: AccessPolicy) -> None:
        self._policy = policy

    async def authenticate(self, request: Request) -> Any:
        """The principal of the token."""
        return await self._policy.authenticate(request.headers)

    async def allows(self, principal: Any, slide_id: str, info: SlideInfo | None = None) -> bool:
        """As the policy says."""
        return await self._policy.allows(principal, slide_id)

    def private(self) -> bool:
        """When a login is needed."""
        return self._policy.enabled


class SignedPolicy:
    """The authentication of the other families: nothing, or signed URLs and tokens."""

    def __init__(self, auth: Authenticator) -> None:
        self._auth = auth

    async def authenticate(self, request: Request) -> Any:
        """Signatures cover path and query, so all is known at once."""
        slide_id = request.query_params.get("slide_id")
        self._auth.authorise(Claim(raw_path(request.scope), request.scope["query_string"], slide_id))

    async def allows(self, principal: Any, slide_id: str, info: SlideInfo | None = None) -> bool:
        """Yes: the signature was for this very request."""
        return True

    def private(self) -> bool:
        """When anything is asked for at all."""
        return self._auth.enabled


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for: px of a region, px of a side of a thumbnail, slides of a batch."""

    region_pixels: int = 25_000_000
    thumbnail_side: int = 500
    batch: int = 1000


@dataclass(frozen=True, slots=True)
class V3Context:
    """Services and settings of the family."""

    pictures: PictureService
    mapper: Mapper
    policy: Policy
    store: Store
    limits: Limits = Limits()
    padding: tuple[int, int, int] = (255, 255, 255)
    pad_tiles: bool = False
    cache_max_age: int = 3600
    local_routes: bool = True
    title: str = "WSI Service"
    description: str = ""
    version: str = ""
    plugins: Callable[[], Sequence[tuple[str, str, int]]] = lambda: ()
    """Name, version and priority of the formats."""
    known: Callable[[SlideRecord], None] = lambda _: None
    """Hears what the catalogue says of ids, where everybody may see every slide."""

    async def slide(self, principal: Any, slide_id: str, plugin: str | None = None) -> tuple[SlideRecord, MappedSlide]:
        """The record of an id that the principal may see. Raises NotFound for others, too, in the same words."""
        missing = NotFound("slide", slide_id, f"Slide {slide_id} does not exist")
        if not await self.allows(principal, slide_id):
            raise missing
        found = await self.unless_missing(self.mapper.slide(slide_id), missing)
        record = SlideRecord(slide_id, found.key, plugin or None)
        if plugin is None:
            self.known(record)
        return record, found

    async def unless_missing(self, found: Awaitable[T], missing: NotFound) -> T:
        """What the mapper finds. Where people log in it raises ``missing`` instead of the mapper's own NotFound: its
        words would tell what does not exist from what may not be seen.
        """
        try:
            return await found
        except NotFound as error:
            if self.policy.private():
                raise missing from error
            raise

    async def allows(self, principal: Any, slide_id: str) -> bool:
        """Whether the principal may see a slide or case. Rules are asked about one spelling of an id only: mappers
        whose ids are paths take several for the same.
        """
        return await self.policy.allows(principal, relative(slide_id.replace(">", "/")))

    def cache_control(self) -> str:
        """Who may keep an answer, and for how long."""
        return f"{'private' if self.policy.private() else 'public'}, max-age={self.cache_max_age}"
