"""Objects at a distance: S3, GCS, Azure and plain web servers, through obstore. The only module that knows obstore.

Every answer is compared with what was asked: range, length, size and ETag. A server that sends the whole object in
place of a part, a short body or a wrong Content-Range (RFC 9110 §14.4, §15.3.7) is a failing store, never wrong data.
obstore does not try again here; ``retry.Retrying`` does, within its own limits.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import (
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

from microtome.errors import Conflict, InvalidRequest, MicrotomeError, NotFound, StorageUnavailable, UnsupportedFormat
from microtome.storage.base import ObjectInfo, RangeResult
from microtome.storage.keys import check_key, is_key, is_prefix
from microtome.storage.parallel import together
from microtome.storage.ranges import check_range

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

PAGE = 1000
_FAILURES = (BaseError, FileNotFoundError, OSError, ValueError)
_NO_RETRY: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=0)}
_STATUS = re.compile(r"inner: Status \{\s*status: (\d{3})")
_KIND = re.compile(r"HttpError \{\s*kind: (\w+)")
_NO_PLACE = re.compile(r"<Code>(NoSuchBucket|ContainerNotFound)</Code>")
_CREDENTIAL_SERVERS = re.compile(r"169\.254\.169\.254|metadata\.google\.internal")

# ETags that If-Match cannot compare: weak ones (RFC 9110 §13.1.1), unquoted ones, and those made up here.
_WEAK, _UNQUOTED, _MADE_UP = "W/", "unquoted:", "modified:"


class RemoteStore:
    """A Store over an obstore client. ``can_list`` is false for plain web servers, which know no listing."""

    def __init__(self, client: ObjectStore, *, can_list: bool = True) -> None:
        self._client = client
        self._can_list = can_list

    @property
    def distant(self) -> bool:
        """Yes."""
        return True

    async def head(self, key: str) -> ObjectInfo:
        """Size and ETag of the object now."""
        check_key(key)
        try:
            return _info(key, await obstore.head_async(self._client, key))
        except _FAILURES as error:
            raise _translated(error, key) from error

    async def get_range(self, key: str, start: int, stop: int, *, etag: str | None = None) -> RangeResult:
        """The bytes, with size and ETag out of the same answer."""
        check_key(key)
        check_range(start, stop)
        if start < stop:
            try:
                return await self._fetch(key, {"range": (start, stop)}, etag)
            except _FAILURES as error:
                if not _is_without_range(error):
                    raise _translated(error, key) from error
                failure = error
        else:
            failure = None
        # Nothing to read there: an empty range, an empty object, or a place behind the end. Is it so?
        info = await self.head(key)
        _check_version(info, etag)
        if start < min(stop, info.size):
            raise _misfit(key) from failure
        return RangeResult(b"", start, info)

    async def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> list[bytes]:
        """The ranges in parallel, one request for each. ``Coalescing`` above merges neighbours."""
        results = await together([self.get_range(key, start, stop, etag=etag) for start, stop in ranges])
        return [result.data for result in results]

    async def get_suffix(self, key: str, length: int) -> RangeResult:
        """The last bytes; in two steps where the server cannot count from the end (Azure, some web servers)."""
        check_key(key)
        check_range(0, length)
        if length:
            try:
                return await self._fetch(key, {"range": {"suffix": length}}, None)
            except _FAILURES as error:
                if not _is_without_range(error):
                    raise _translated(error, key) from error
        info = await self.head(key)
        return await self.get_range(key, max(0, info.size - length), info.size, etag=info.etag)

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        """Nothing is at hand here."""
        return None

    def prefetch(self, key: str, ranges: Sequence[tuple[int, int]], *, etag: str) -> None:
        """Nothing to gain: nothing is kept here, ``BlockCache`` does."""

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        """Pages of objects. Raises UnsupportedFormat for stores that cannot list, or not in the order of keys."""
        if not self._can_list:
            raise UnsupportedFormat(
                "A plain web server cannot list its files; ask for a slide by its path", feature="listing over HTTP"
            )
        if prefix and not is_prefix(prefix):
            return
        # obstore takes whole folders as prefix; the rest of it is a place to begin and a place to stop.
        folder = prefix.rpartition("/")[0]
        before = _shortly_before(prefix)
        offset = max(after, before) if is_prefix(before) else after
        last = after
        try:
            pages: AsyncIterator[Sequence[ObjectMeta]] = obstore.list(  # pyright: ignore[reportUnknownMemberType]
                self._client, folder or None, offset=offset or None, chunk_size=PAGE
            )
            async for page in pages:
                infos = [_info(meta["path"], meta) for meta in page if is_key(meta["path"])]
                found = _in_order([info for info in infos if info.key.startswith(prefix)], last)
                if found:
                    last = found[-1].key
                    yield found
                if infos and infos[-1].key > prefix and not infos[-1].key.startswith(prefix):
                    return
        except _FAILURES as error:
            raise _translated_listing(error) from error

    def local_path(self, key: str) -> Path | None:
        """None."""
        return None

    async def close(self) -> None:
        """Nothing to do: the client closes idle connections itself."""

    async def _fetch(self, key: str, options: GetOptions, etag: str | None) -> RangeResult:
        if etag is not None and not etag.startswith((_WEAK, _UNQUOTED, _MADE_UP)):
            options["if_match"] = f'"{etag}"'
        answer = await obstore.get_async(self._client, key, options=options)
        info = _info(key, answer.meta)
        _check_version(info, etag)
        start, stop = answer.range
        if not 0 <= start < stop <= info.size or not _fits(options, start, stop, info.size):
            raise _misfit(key)
        parts: list[bytes] = []
        missing = stop - start
        # In pieces, so that a body longer than announced is not taken in.
        async for part in answer.stream(min_chunk_size=missing):
            parts.append(part)
            missing -= len(part)
            if missing <= 0:
                break
        if missing:
            raise _misfit(key)
        return RangeResult(parts[0] if len(parts) == 1 else b"".join(parts), start, info)


def s3(
    bucket: str,
    prefix: str = "",
    *,
    endpoint: str | None = None,
    region: str | None = None,
    anonymous: bool = False,
    credentials: tuple[str, str, str | None] | None = None,
    timeout: float = 30.0,
) -> RemoteStore:
    """S3 and what speaks like it. With an ``endpoint`` the bucket stands in the path, as such servers expect.

    ``credentials`` are key id, secret and session token; without them the environment is asked (``AWS_ACCESS_KEY_ID``
    and so on), then the container or the machine.
    """
    config: dict[str, Any] = {"skip_signature": anonymous}
    if endpoint is not None:
        config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    if region is not None:
        config["region"] = region
    if credentials is not None and not anonymous:
        config["access_key_id"], config["secret_access_key"], token = credentials
        if token is not None:
            config["session_token"] = token
    options = _client_options(timeout, allow_http=(endpoint or "").startswith("http://"))
    return RemoteStore(
        _made(S3Store, bucket, prefix=prefix or None, config=config, client_options=options, retry_config=_NO_RETRY)
    )


def gcs(bucket: str, prefix: str = "", *, anonymous: bool = False, timeout: float = 30.0) -> RemoteStore:
    """Google Cloud Storage, with the credentials of the environment."""
    config = {"skip_signature": anonymous} if anonymous else {}
    return RemoteStore(
        _made(
            GCSStore,
            bucket,
            prefix=prefix or None,
            config=config,
            client_options=_client_options(timeout),
            retry_config=_NO_RETRY,
        )
    )


def azure(
    container: str,
    prefix: str = "",
    *,
    account: str | None = None,
    endpoint: str | None = None,
    anonymous: bool = False,
    timeout: float = 30.0,
) -> RemoteStore:
    """Azure Blob Storage; account and credentials from the environment (``AZURE_STORAGE_ACCOUNT_NAME`` and so on)."""
    config: dict[str, Any] = {"skip_signature": anonymous} if anonymous else {}
    if account is not None:
        config["account_name"] = account
    if endpoint is not None:
        config["endpoint"] = endpoint
    options = _client_options(timeout, allow_http=(endpoint or "").startswith("http://"))
    return RemoteStore(
        _made(
            AzureStore, container, prefix=prefix or None, config=config, client_options=options, retry_config=_NO_RETRY
        )
    )


def web(url: str, *, timeout: float = 30.0) -> RemoteStore:
    """The files below a URL of a plain web server."""
    options = _client_options(timeout, allow_http=url.startswith("http://"))
    return RemoteStore(
        _made(HTTPStore, url.rstrip("/"), client_options=options, retry_config=_NO_RETRY), can_list=False
    )


def _made(kind: Any, place: str, **arguments: Any) -> ObjectStore:
    """The client. What is wrong with the configuration is the operator's to know, but not for a response."""
    try:
        return kind(place, **arguments)
    except _FAILURES as error:
        raise InvalidRequest(
            "The place of the slides cannot be used; check its URL, account and endpoint", parameter="url"
        ) from error


def _client_options(timeout: float, *, allow_http: bool = False) -> ClientConfig:
    # ``TimeLimited`` is the limit that counts; this one stands behind it for whoever uses the store bare.
    options: ClientConfig = {
        "timeout": timedelta(seconds=timeout + 1),
        "connect_timeout": timedelta(seconds=min(timeout, 5.0)),
    }
    if allow_http:
        options["allow_http"] = True
    return options


def _info(key: str, meta: ObjectMeta) -> ObjectInfo:
    modified = meta["last_modified"].timestamp() or None  # the epoch itself stands for "not said"
    etag = meta["e_tag"]
    if not etag:
        etag = f"{_MADE_UP}{modified or 0:.3f}-{meta['size']}"
    elif len(etag) >= 2 and etag.startswith('"') and etag.endswith('"'):
        etag = etag[1:-1]
    elif etag.startswith(_WEAK):
        etag = etag.replace('"', "")
    else:
        etag = _UNQUOTED + etag
    return ObjectInfo(key, meta["size"], etag, modified)


def _check_version(info: ObjectInfo, etag: str | None) -> None:
    if etag is not None and info.etag != etag:
        raise Conflict(f"Slide {info.key} was replaced; open it again")


def _fits(options: GetOptions, start: int, stop: int, size: int) -> bool:
    """Whether the Content-Range of the answer is what was asked for."""
    match options.get("range"):
        case {"suffix": int(length)}:
            return (start, stop) == (max(0, size - length), size)
        case (int(first), int(last)):
            return (start, stop) == (first, min(last, size))
        case _:
            return False


def _misfit(key: str) -> StorageUnavailable:
    return StorageUnavailable(
        f"The store's answer does not fit the range asked of slide {key}; does it support range requests?"
    )


def _shortly_before(prefix: str) -> str:
    """A key smaller than all that start with ``prefix``, and larger than most that do not."""
    last = prefix[-1:]
    return prefix[:-1] + chr(ord(last) - 1) + "~" if "!" < last <= "~" else ""


def _in_order(infos: Sequence[ObjectInfo], last: str) -> list[ObjectInfo]:
    found: list[ObjectInfo] = []
    for info in infos:
        if info.key > last:
            found.append(info)
            last = info.key
        elif info.size:  # an empty one is the marker of a folder, whose final "/" obstore has removed
            raise UnsupportedFormat(
                "This store does not list its objects in the order of their keys", feature="unordered listing"
            )
    return found


def _is_without_range(error: Exception) -> bool:
    """416, or a 200 in place of a 206, or a kind of range the service does not know."""
    text = str(error)
    status = _STATUS.search(text)
    return isinstance(error, NotSupportedError) or "source: NotPartial" in text or bool(status and status[1] == "416")


def _translated(error: Exception, key: str) -> MicrotomeError:
    text = str(error)
    if isinstance(error, PreconditionError):
        return Conflict(f"Slide {key} was replaced; open it again")
    if isinstance(error, FileNotFoundError) and not _NO_PLACE.search(text):
        return NotFound("slide", key)
    if isinstance(error, ValueError):  # a key that obstore cannot express
        return NotFound("slide", key)
    return _translated_failure(error, text)


def _translated_listing(error: Exception) -> MicrotomeError:
    text = str(error)
    if isinstance(error, ValueError):
        return InvalidRequest("This prefix or place to begin is not possible", parameter="prefix")
    if "empty path segment" in text:
        return UnsupportedFormat(
            'The store holds a key with "//", which cannot be listed; choose a prefix without it', feature="key with //"
        )
    return _translated_failure(error, text)


def _translated_failure(error: Exception, text: str) -> StorageUnavailable:
    """Why the store failed, without bucket, endpoint or anything else of its own words."""
    if isinstance(error, FileNotFoundError):
        return StorageUnavailable("The place of the slides does not exist; check its URL", permanent=True)
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return StorageUnavailable("The store denied access; check the server's credentials", permanent=True)
    if _CREDENTIAL_SERVERS.search(text):
        return StorageUnavailable(
            "No credentials for the store were found; set them, or ask for anonymous access", permanent=True
        )
    if "BareRedirect" in text:
        return StorageUnavailable("The store points elsewhere; check region and endpoint", permanent=True)
    status, kind = _STATUS.search(text), _KIND.search(text)
    if status is not None:
        passing = status[1] in {"408", "429"} or status[1].startswith("5")
        advice = "try again later" if passing else "check its URL, region and endpoint"
        return StorageUnavailable(f"The store answered with status {status[1]}; {advice}", permanent=not passing)
    if (kind is not None and kind[1] == "Timeout") or "TimedOut" in text:
        return StorageUnavailable("The store did not answer in time; try again later", timed_out=True)
    if kind is not None or "reqwest::Error" in text:
        return StorageUnavailable("The connection to the store could not be kept; try again later", unreachable=True)
    return StorageUnavailable("The store's answer was not understood; try again later")
