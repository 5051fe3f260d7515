"""RemoteStore against a real S3 server, and against the same server behind a proxy that breaks answers."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping

import pytest

from microtome.errors import Conflict, NotFound, StorageUnavailable
from microtome.storage.base import Store
from microtome.storage.pinned import PinnedObject
from microtome.storage.remote import RemoteStore, s3
from microtome.storage.url import StoreOptions, open_store
from microtome.telemetry import Counters
from microtome.testing.stores import StoreContract
from tests.e2e import faults
from tests.e2e.faults import Fault, FaultProxy
from tests.e2e.s3server import S3Server

pytestmark = pytest.mark.s3

_numbers = itertools.count()
SLIDE = random.Random(5).randbytes(3_000_000)


def fresh_bucket(server: S3Server, objects: Mapping[str, bytes]) -> str:
    name = f"bucket-{next(_numbers)}"
    server.create_bucket(name)
    for key, data in objects.items():
        server.put(name, key, data)
    return name


def connect(
    server: S3Server, bucket: str, prefix: str = "", *, endpoint: str | None = None, **other: object
) -> RemoteStore:
    arguments: dict[str, object] = {"credentials": (server.access_key, server.secret_key, None), **other}
    return s3(bucket, prefix, endpoint=endpoint or server.endpoint, region=server.region, **arguments)  # type: ignore[arg-type]


class TestRemoteStore(StoreContract):
    prefix = ""

    @pytest.fixture(autouse=True)
    def _server(self, s3_server: S3Server) -> None:
        self.server = s3_server

    async def open(self, objects: Mapping[str, bytes]) -> Store:
        below = f"{self.prefix}/" if self.prefix else ""
        named = {f"{below}{key}": data for key, data in objects.items()}
        self.bucket = fresh_bucket(self.server, {**named, **({"outside.svs": b"secret"} if self.prefix else {})})
        return self.connected()

    def connected(self) -> Store:
        return connect(self.server, self.bucket, self.prefix)

    async def replace(self, store: Store, key: str, data: bytes) -> None:
        self.server.put(self.bucket, f"{self.prefix}/{key}" if self.prefix else key, data)


class TestRemoteStoreBelowAPrefix(TestRemoteStore):
    prefix = "depart ment/2026"


class TestOpenedByUrl(TestRemoteStore):
    """With all wrappers, as the application uses it."""

    prefix = "slides"

    def connected(self) -> Store:
        return open_store(f"s3://{self.bucket}/{self.prefix}", options(self.server, self.server.endpoint))


def options(server: S3Server, endpoint: str, **other: object) -> StoreOptions:
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9/unused", "AWS_PROFILE": "lab"}
    environ["AWS_SHARED_CREDENTIALS_FILE"] = str(credentials_file(server))
    arguments: dict[str, object] = {"retry_delay": 0.0, "counters": Counters(), **other}
    return StoreOptions(s3_endpoint=endpoint, environ=environ, **arguments)  # type: ignore[arg-type]


def credentials_file(server: S3Server) -> object:
    """The keys as other tools keep them, so that this way in is tested too."""
    assert server.folder is not None
    file = server.folder / "credentials"
    file.write_text(
        f"[lab]\naws_access_key_id = {server.access_key}\naws_secret_access_key = {server.secret_key}\n"
        f"region = {server.region}\n"
    )
    return file


async def test_signatures_are_checked(s3_server: S3Server) -> None:
    bucket = fresh_bucket(s3_server, {"slide.svs": SLIDE})
    for refused in (
        connect(s3_server, bucket, credentials=(s3_server.access_key, "wrong", None)),
        connect(s3_server, bucket, anonymous=True),
    ):
        for read in (refused.head("slide.svs"), refused.get_range("slide.svs", 0, 10), anext(refused.list())):
            with pytest.raises(StorageUnavailable) as caught:
                await read
            assert caught.value.permanent
            assert bucket not in caught.value.message
            assert s3_server.endpoint not in caught.value.message
            assert s3_server.access_key not in caught.value.message


async def test_missing_bucket_is_the_operators_fault(s3_server: S3Server) -> None:
    store = connect(s3_server, "no-such-bucket")
    for read in (store.get_range("slide.svs", 0, 10), anext(store.list())):
        with pytest.raises(StorageUnavailable) as caught:
            await read
        assert caught.value.permanent
        assert "no-such-bucket" not in caught.value.message


async def test_nobody_there() -> None:
    store = s3("bucket", endpoint="http://127.0.0.1:1", region="x", credentials=("a", "b", None))
    with pytest.raises(StorageUnavailable) as caught:
        await store.get_range("slide.svs", 0, 10)
    assert caught.value.unreachable
    assert "127.0.0.1" not in caught.value.message


async def test_long_listing_comes_in_pages(s3_server: S3Server) -> None:
    keys = sorted(f"folder {number % 7}/slide-{number:04}.svs" for number in range(1203))
    bucket = fresh_bucket(s3_server, {})
    assert s3_server.folder is not None
    for key in keys:  # straight into the folder of the server: a thousand signed requests would take long
        path = s3_server.folder / "objects" / bucket / key
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"1")
    store = connect(s3_server, bucket)
    pages = [[info.key for info in page] async for page in store.list()]
    assert len(pages) > 1
    assert list(itertools.chain.from_iterable(pages)) == keys
    middle = keys[700]
    assert [info.key async for page in store.list(after=middle) for info in page] == keys[701:]


# Faults: what comes out is the right bytes or an error, and with another try it is the right bytes.

BROKEN: Mapping[str, Fault] = {
    "200 in place of 206": faults.whole_body,
    "short body": faults.short_body,
    "short body, length agrees": faults.short_but_closed,
    "wrong Content-Range": faults.wrong_range,
    "503 SlowDown": faults.slow_down,
    "reset": faults.reset,
}


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return fresh_bucket(s3_server, {"slide.svs": SLIDE})


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("pinned", [True, False])
async def test_broken_answer_is_a_failure_not_wrong_bytes(
    s3_server: S3Server, s3_proxy: FaultProxy, bucket: str, fault: Fault, *, pinned: bool
) -> None:
    store = connect(s3_server, bucket, endpoint=s3_proxy.endpoint)
    etag = (await store.head("slide.svs")).etag if pinned else None
    s3_proxy.faults.append(fault)
    with pytest.raises(StorageUnavailable) as caught:
        await store.get_range("slide.svs", 1000, 90_000, etag=etag)
    assert not caught.value.permanent
    assert not s3_proxy.faults
    for secret in (bucket, s3_proxy.endpoint, s3_server.access_key):
        assert secret not in caught.value.message
    assert (await store.get_range("slide.svs", 1000, 90_000, etag=etag)).data == SLIDE[1000:90_000]


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
async def test_another_try_gives_the_right_bytes(
    s3_server: S3Server, s3_proxy: FaultProxy, bucket: str, fault: Fault
) -> None:
    settings = options(s3_server, s3_proxy.endpoint)
    store = open_store(f"s3://{bucket}", settings)
    etag = (await store.head("slide.svs")).etag
    s3_proxy.faults.extend([fault, fault, fault])
    assert (await store.get_range("slide.svs", 1000, 90_000, etag=etag)).data == SLIDE[1000:90_000]
    assert settings.counters.get("storage.retries") == 3
    assert settings.counters.get("storage.failures") == 3
    s3_proxy.faults.extend([fault] * 4)
    with pytest.raises(StorageUnavailable):
        await store.get_range("slide.svs", 2_000_000, 2_000_100, etag=etag)
    assert not s3_proxy.faults


async def test_suffix_survives_a_broken_answer(s3_server: S3Server, s3_proxy: FaultProxy, bucket: str) -> None:
    store = open_store(f"s3://{bucket}", options(s3_server, s3_proxy.endpoint))
    for fault in BROKEN.values():
        s3_proxy.faults.append(fault)
        result = await store.get_suffix("slide.svs", 5000)
        assert (result.start, result.data) == (len(SLIDE) - 5000, SLIDE[-5000:])


async def test_stalled_connection_is_given_up(s3_server: S3Server, s3_proxy: FaultProxy, bucket: str) -> None:
    settings = options(s3_server, s3_proxy.endpoint, timeout=0.3)
    store = open_store(f"s3://{bucket}", settings)
    etag = (await store.head("slide.svs")).etag
    s3_proxy.faults.append(faults.stall)
    assert (await store.get_range("slide.svs", 0, 9000, etag=etag)).data == SLIDE[:9000]
    assert settings.counters.get("storage.retries") == 1
    s3_proxy.faults.extend([faults.stall] * 4)
    with pytest.raises(StorageUnavailable) as caught:
        await store.get_range("slide.svs", 2_000_000, 2_000_100, etag=etag)
    assert caught.value.timed_out


async def test_the_client_has_a_limit_of_its_own(s3_server: S3Server, s3_proxy: FaultProxy, bucket: str) -> None:
    store = connect(s3_server, bucket, endpoint=s3_proxy.endpoint, timeout=0.1)  # and one second more
    s3_proxy.faults.append(faults.stall)
    with pytest.raises(StorageUnavailable) as caught:
        await store.get_range("slide.svs", 0, 9000)
    assert caught.value.timed_out


async def test_another_etag_is_a_conflict(s3_server: S3Server, s3_proxy: FaultProxy, bucket: str) -> None:
    store = open_store(f"s3://{bucket}", options(s3_server, s3_proxy.endpoint))
    etag = (await store.head("slide.svs")).etag
    s3_proxy.faults.append(faults.other_etag)
    with pytest.raises(Conflict):
        await store.get_range("slide.svs", 0, 9000, etag=etag)


async def test_an_etag_that_disappears_is_a_conflict(s3_server: S3Server, s3_proxy: FaultProxy, bucket: str) -> None:
    store = connect(s3_server, bucket, endpoint=s3_proxy.endpoint)
    etag = (await store.head("slide.svs")).etag
    s3_proxy.faults.append(faults.no_etag)
    with pytest.raises(Conflict):
        await store.get_range("slide.svs", 0, 9000, etag=etag)


async def test_replaced_in_the_middle_of_many_reads(s3_server: S3Server, s3_proxy: FaultProxy, bucket: str) -> None:
    """The object changes between two of the requests that one call makes: no bytes at all, never a mixture."""
    store = connect(s3_server, bucket, endpoint=s3_proxy.endpoint)
    etag = (await store.head("slide.svs")).etag
    s3_proxy.forget()
    replaced = False

    def replace_before_the_third(_: object) -> None:
        nonlocal replaced
        if len(s3_proxy.reads) == 3 and not replaced:
            replaced = True
            s3_server.put(bucket, "slide.svs", SLIDE[::-1])

    s3_proxy.during = replace_before_the_third
    with pytest.raises(Conflict):
        await store.get_ranges("slide.svs", [(start, start + 10) for start in range(0, 3_000_000, 500_000)], etag=etag)
    assert replaced


async def test_deleted_meanwhile(s3_server: S3Server, bucket: str) -> None:
    store = open_store(f"s3://{bucket}", options(s3_server, s3_server.endpoint))
    etag = (await store.head("slide.svs")).etag
    s3_server.delete(bucket, "slide.svs")
    with pytest.raises(NotFound):
        await store.get_range("slide.svs", 0, 10, etag=etag)


# Requests, counted.


async def test_eight_adjacent_tiles_are_one_request(s3_server: S3Server, s3_proxy: FaultProxy, bucket: str) -> None:
    settings = options(s3_server, s3_proxy.endpoint)
    store = open_store(f"s3://{bucket}", settings)
    etag = (await store.head("slide.svs")).etag
    s3_proxy.forget()
    tiles = [(500_000 + 60_000 * i, 500_000 + 60_000 * (i + 1)) for i in range(8)]
    parts = await asyncio.gather(*(store.get_range("slide.svs", start, stop, etag=etag) for start, stop in tiles))
    assert [part.data for part in parts] == [SLIDE[start:stop] for start, stop in tiles]
    assert len(s3_proxy.asked) == 1
    assert s3_proxy.bytes_sent == settings.counters.get("storage.bytes")
    assert settings.counters.get("storage.requests.range") == 1
    assert store.peek("slide.svs", *tiles[3], etag=etag) == parts[3].data


async def test_opening_takes_one_round_trip(s3_server: S3Server, s3_proxy: FaultProxy, bucket: str) -> None:
    store = open_store(f"s3://{bucket}", options(s3_server, s3_proxy.endpoint))
    s3_proxy.latency = 0.02
    opened = await PinnedObject.open(store, "slide.svs")
    assert (opened.size, len(s3_proxy.asked), s3_proxy.rounds) == (len(SLIDE), 2, 1)
    await opened.read(1_000_000, 1_000_100)
    assert s3_proxy.rounds == 2


async def test_one_leaves_while_others_wait(s3_server: S3Server, s3_proxy: FaultProxy, bucket: str) -> None:
    store = open_store(f"s3://{bucket}", options(s3_server, s3_proxy.endpoint))
    etag = (await store.head("slide.svs")).etag
    s3_proxy.forget()
    arrived = asyncio.Event()
    s3_proxy.during = lambda _: arrived.set()
    s3_proxy.latency = 0.02
    readers = [asyncio.ensure_future(store.get_range("slide.svs", 0, 1000, etag=etag)) for _ in range(4)]
    await arrived.wait()
    readers[0].cancel()
    results = await asyncio.gather(*readers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(not isinstance(result, BaseException) and result.data == SLIDE[:1000] for result in results[1:])
    assert len(s3_proxy.asked) == 1
