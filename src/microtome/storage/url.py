"""From a URL to a Store with all its wrappers. The one place that knows how they are stacked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from microtome.errors import InvalidRequest
from microtome.storage import remote
from microtome.storage.base import Store
from microtome.storage.blocks import BLOCK_SIZE, BlockCache
from microtome.storage.counting import Counting
from microtome.storage.credentials import shared_profile
from microtome.storage.keys import is_key
from microtome.storage.local import LocalStore
from microtome.storage.memory import MemoryStore
from microtome.storage.retry import Retrying
from microtome.storage.timeout import TimeLimited
from microtome.telemetry import Counters

HELP = (
    "Give an existing folder or file, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, "
    "abfs://container@account.dfs.core.windows.net/prefix, or http(s)://host/folder/"
)


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How stores are opened. ``timeout`` in s for one request, ``retry_deadline`` in s for all tries of a read,
    ``block_size`` and ``block_budget`` in bytes; ``retries`` is the number of tries after the first one.

    ``anonymous`` (GCS, Azure) and ``s3_anonymous`` send requests without credentials. ``environ`` and ``home`` are
    where keys for S3 are looked for.
    """

    s3_endpoint: str | None = None
    s3_region: str | None = None
    s3_anonymous: bool = False
    anonymous: bool = False
    azure_account: str | None = None
    azure_endpoint: str | None = None
    follow_symlinks: bool = False
    block_size: int = BLOCK_SIZE
    block_budget: int = 256 * 1024 * 1024
    timeout: float = 10.0
    retries: int = 3
    retry_delay: float = 0.1
    retry_deadline: float = 30.0
    counters: Counters = field(default_factory=Counters)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    home: Path = field(default_factory=Path.home)


def open_store(url: str, options: StoreOptions | None = None) -> Store:
    """The store at ``url``; no request is made.

    A path or ``file://`` URL gives a LocalStore, counted. The remote ones are counted next to the wire, limited in
    time, tried again, and read through a cache of blocks. ``s3://bucket/prefix`` and its like give a store whose keys
    begin behind the prefix. Raises InvalidRequest(parameter="url") for what cannot be a place of slides.
    """
    options = options or StoreOptions()
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _local(url, options)
    opener = _OPENERS.get(scheme.lower())
    if opener is None:
        raise InvalidRequest(f"Slides cannot be read from {scheme}:// URLs. {HELP}", parameter="url")
    return opener(rest, scheme.lower(), options)


def _local(path: str, options: StoreOptions) -> Store:
    if not path or "\0" in path or not Path(path).exists():
        raise InvalidRequest(f"There is no such folder or file. {HELP}", parameter="url")
    return Counting(LocalStore(path, follow_symlinks=options.follow_symlinks), options.counters)


def _file(rest: str, _: str, options: StoreOptions) -> Store:
    host, slash, path = rest.partition("/")
    if host not in {"", "localhost"} or not slash:
        raise InvalidRequest("A file URL has three slashes and an absolute path: file:///slides", parameter="url")
    return _local(unquote("/" + path), options)


def _memory(_: str, __: str, options: StoreOptions) -> Store:
    return Counting(MemoryStore(), options.counters)


def _s3(rest: str, _: str, options: StoreOptions) -> Store:
    bucket, prefix = _place(rest)
    profile = shared_profile(options.environ, options.home)
    store = remote.s3(
        bucket,
        prefix,
        endpoint=options.s3_endpoint or profile.endpoint,
        region=options.s3_region or profile.region,
        anonymous=options.s3_anonymous,
        credentials=profile.keys,
        timeout=options.timeout,
    )
    return _wrapped(store, options)


def _gcs(rest: str, _: str, options: StoreOptions) -> Store:
    bucket, prefix = _place(rest)
    return _wrapped(remote.gcs(bucket, prefix, anonymous=options.anonymous, timeout=options.timeout), options)


def _azure(rest: str, _: str, options: StoreOptions) -> Store:
    place, prefix = _place(rest)
    container, at, host = place.partition("@")
    account = host.partition(".")[0] if at else options.azure_account
    store = remote.azure(
        container,
        prefix,
        account=account,
        endpoint=options.azure_endpoint,
        anonymous=options.anonymous,
        timeout=options.timeout,
    )
    return _wrapped(store, options)


def _web(rest: str, scheme: str, options: StoreOptions) -> Store:
    if not rest.strip("/") or "?" in rest or "#" in rest:
        raise InvalidRequest("Give the URL of a folder, without a query: https://host/folder/", parameter="url")
    return _wrapped(remote.web(f"{scheme}://{rest}", timeout=options.timeout), options)


def _place(rest: str) -> tuple[str, str]:
    """Bucket and prefix, the prefix without slashes around it."""
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not bucket or (prefix and not is_key(prefix)):
        raise InvalidRequest(f"The URL names no bucket, or an impossible prefix. {HELP}", parameter="url")
    return bucket, prefix


def _wrapped(store: Store, options: StoreOptions) -> Store:
    counted = Counting(store, options.counters)
    limited = TimeLimited(counted, options.timeout)
    again = Retrying(
        limited,
        attempts=options.retries + 1,
        base_delay=options.retry_delay,
        deadline=options.retry_deadline,
        counters=options.counters,
    )
    return BlockCache(again, options.block_budget, block_size=options.block_size)


_OPENERS: Mapping[str, Callable[[str, str, StoreOptions], Store]] = {
    "file": _file,
    "memory": _memory,
    "s3": _s3,
    "s3a": _s3,
    "gs": _gcs,
    "az": _azure,
    "azure": _azure,
    "abfs": _azure,
    "abfss": _azure,
    "http": _web,
    "https": _web,
}
