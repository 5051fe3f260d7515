"""Slides whose places another service knows: it is asked over HTTP, with limits, and not for every tile."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from unicodedata import category
from urllib.parse import quote, urlsplit

from microtome.catalog.answers import Malformed, stored
from microtome.catalog.base import Case, MappedSlide
from microtome.catalog.kept import Kept
from microtome.errors import InvalidRequest, NotFound, StorageUnavailable

if TYPE_CHECKING:
    import httpx

PLACEHOLDER = "{slide_id}"
VARIABLE = "WS_MAPPER_ADDRESS"
KEEP = 60.0
"""So many s an answer of the service is kept."""
OUTAGE = 600.0
"""So many s an answer stands in while the service cannot be reached."""
TIMEOUT = 8.0
"""So many s the service has for an answer, connecting included."""
CONNECTIONS = 20
ANSWER_BYTES = 4 * 1024 * 1024
KEPT_BYTES = 16 * 1024 * 1024
REDIRECTS = 5

_NOT_FOUND = 404
_UNREACHABLE = "WSI Service is unable to connect to the Storage Mapper Service."


class RemoteMapper:
    """Asks ``address``, a URL with ``{slide_id}`` in it, for the storage of a slide.

    The id is percent-encoded, but for ``/``; ids with ``.`` or ``..`` between slashes do not exist, so that no other
    page of the service can be asked for. Keys are the addresses relative to ``data_dir``, checked to stay below it.
    There are no cases: the interface has no listing. Times in s. Raises InvalidRequest(parameter="WS_MAPPER_ADDRESS").
    """

    def __init__(
        self,
        address: str,
        *,
        data_dir: str,
        time_limit: float = TIMEOUT,
        keep: float = KEEP,
        outage: float = OUTAGE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname or PLACEHOLDER in parts.netloc:
            raise InvalidRequest(f"{VARIABLE} must be a URL that begins with http:// or https://", parameter=VARIABLE)
        if PLACEHOLDER not in address:
            raise InvalidRequest(f"{VARIABLE} must contain {PLACEHOLDER}, where the id goes", parameter=VARIABLE)
        self._address = address
        self._data_dir = data_dir
        self._time_limit = time_limit
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._kept: Kept[str, MappedSlide] = Kept(
            keep,
            budget=KEPT_BYTES,
            weigh=lambda slide: 500 + sum(2 * len(each.address) + 300 for each in slide.addresses),
            outage=outage,
            clock=clock,
        )

    async def cases(self, context: str | None) -> Sequence[Case]:
        """Raises NotFound."""
        raise NotFound("case list", context or "", "Cases are not known: the storage mapper lists none")

    async def slides(self, case_id: str) -> Sequence[MappedSlide]:
        """Raises NotFound."""
        raise NotFound("case", case_id, f"Case with case_id {case_id} does not exist")

    async def slide(self, slide_id: str) -> MappedSlide:
        """The slide as the service knows it. Raises NotFound, StorageUnavailable."""
        try:
            url = self._address.replace(PLACEHOLDER, _encoded(slide_id))
            return await self._kept.get(slide_id, lambda: self._ask(slide_id, url))
        except NotFound as error:
            raise NotFound("slide", slide_id, f"Could not find a storage address for slide id {slide_id}.") from error

    async def refresh(self) -> None:
        """Ask anew from now on."""
        self._kept.forget()

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _ask(self, slide_id: str, url: str) -> MappedSlide:
        import httpx

        client = await self._open_client()
        try:
            async with asyncio.timeout(self._time_limit), client.stream("GET", url) as response:
                if response.status_code == _NOT_FOUND:
                    raise NotFound("slide", slide_id)
                if not response.is_success:
                    raise StorageUnavailable(f"The Storage Mapper Service answered with status {response.status_code}")
                body = await _limited(response)
        except (TimeoutError, httpx.TimeoutException) as error:
            message = f"The Storage Mapper Service did not answer within {self._time_limit:g} s"
            raise StorageUnavailable(message, timed_out=True) from error
        except (httpx.TransportError, httpx.TooManyRedirects) as error:
            raise StorageUnavailable(_UNREACHABLE, unreachable=True) from error
        except httpx.HTTPError as error:
            raise StorageUnavailable("The Storage Mapper Service gave an answer that cannot be read") from error
        try:
            return stored(slide_id, slide_id, json.loads(body), self._data_dir)
        except (Malformed, ValueError, RecursionError) as error:
            raise StorageUnavailable(
                "The Storage Mapper Service gave an answer that is no slide storage; is WS_MAPPER_ADDRESS right?"
            ) from error

    async def _open_client(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._client is None:
                # Reading the certificates of this machine takes some ms.
                self._client = await asyncio.to_thread(_make_client, self._time_limit)
            return self._client


def _make_client(time_limit: float) -> httpx.AsyncClient:
    import httpx

    return httpx.AsyncClient(
        verify=ssl.create_default_context(),
        timeout=time_limit,
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        follow_redirects=True,
        max_redirects=REDIRECTS,
        trust_env=False,
        headers={"accept": "application/json"},
    )


async def _limited(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > ANSWER_BYTES:
            raise StorageUnavailable(f"The Storage Mapper Service answered with more than {ANSWER_BYTES} bytes")
    return bytes(body)


def _encoded(slide_id: str) -> str:
    strange = any(segment in {".", ".."} for segment in slide_id.split("/")) or any(map(_is_control, slide_id))
    if strange or not slide_id:
        raise NotFound("slide", slide_id)
    try:
        return quote(slide_id, safe="/")
    except UnicodeEncodeError as error:
        raise NotFound("slide", slide_id) from error


def _is_control(character: str) -> bool:
    return category(character) == "Cc"
