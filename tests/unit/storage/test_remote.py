"""What servers may answer that the real one of the tests does not: strange listings, missing features."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from microtome.errors import InvalidRequest, StorageUnavailable, UnsupportedFormat
from microtome.storage.base import Store
from microtome.storage.remote import azure, s3, web
from tests.e2e.origin import Origin

Answer = tuple[int, dict[str, str], bytes]


@asynccontextmanager
async def server(answer: Callable[[str, str, dict[str, str]], Answer]) -> AsyncIterator[str]:
    """A server that answers (method, target, headers) as told; its URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, target, _ = lines[0].split(" ")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                status, more, body = answer(method, target, headers)
                more = {"content-length": str(len(body)), **more}
                head = "".join(f"{name}: {value}\r\n" for name, value in more.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + (b"" if method == "HEAD" else body))
                await writer.drain()
        writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def listing(*keys: str, size: int = 5) -> Callable[[str, str, dict[str, str]], Answer]:
    entries = "".join(
        f"<Contents><Key>{key}</Key><Size>{0 if key.endswith('/') else size}</Size><ETag>&quot;e&quot;</ETag>"
        f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
        for key in keys
    )
    body = f"<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()
    return lambda *_: (200, {"content-type": "application/xml"}, body)


async def keys(store: Store, prefix: str = "") -> list[str]:
    return [info.key async for page in store.list(prefix) for info in page]


def bucket(url: str) -> Store:
    return s3("b", endpoint=url, region="us-east-1", anonymous=True)


async def test_markers_of_folders_do_not_disturb_the_order() -> None:
    async with server(listing("a-b.svs", "a/", "a/slide.svs", "b/", "b/slide.svs")) as url:
        found = await keys(bucket(url))
        assert [key for key in found if key.endswith(".svs")] == ["a-b.svs", "a/slide.svs", "b/slide.svs"]
        assert found == sorted(found)


async def test_a_store_without_order_is_refused() -> None:
    async with server(listing("b.svs", "a.svs")) as url:
        with pytest.raises(UnsupportedFormat, match="order"):
            await keys(bucket(url))


async def test_keys_that_are_none_of_ours_are_left_out() -> None:
    async with server(listing("a\\b.svs", "c.svs", "%2e%2e/d.svs")) as url:
        with suppress(UnsupportedFormat):
            assert await keys(bucket(url)) == ["c.svs"]


async def test_double_slash_says_what_to_do() -> None:
    async with server(listing("a//b.svs")) as url:
        with pytest.raises(UnsupportedFormat, match="//"):
            await keys(bucket(url))


async def test_prefix_within_a_folder_asks_for_the_folder_and_a_place_to_begin() -> None:
    asked: list[dict[str, list[str]]] = []
    answer = listing("f/slide-1.svs", "f/slide-2.svs", "f/z.svs")

    def remember(method: str, target: str, headers: dict[str, str]) -> Answer:
        asked.append(parse_qs(urlsplit(target).query))
        return answer(method, target, headers)

    async with server(remember) as url:
        assert await keys(bucket(url), "f/slide-") == ["f/slide-1.svs", "f/slide-2.svs"]
    assert asked[0]["prefix"] == ["f/"]
    assert "f/a" < asked[0]["start-after"][0] < "f/slide-"


@pytest.mark.parametrize("body", [b"", b"<", b"<html>", b"\0" * 100])
async def test_a_listing_that_is_none(body: bytes) -> None:
    async with server(lambda *_: (200, {}, body)) as url:
        with pytest.raises(StorageUnavailable) as caught:
            await keys(bucket(url))
        assert url not in caught.value.message


async def test_impossible_place_to_begin() -> None:
    async with server(listing("a.svs")) as url:
        with pytest.raises(InvalidRequest):
            await anext(bucket(url).list(after="a//b"))


@pytest.mark.parametrize(
    ("status", "permanent"), [(400, True), (301, True), (405, True), (429, False), (500, False), (503, False)]
)
async def test_statuses(status: int, *, permanent: bool) -> None:
    async with server(lambda *_: (status, {}, b"secret words of the server")) as url:
        for read in (bucket(url).head("a.svs"), bucket(url).get_range("a.svs", 0, 5), anext(bucket(url).list())):
            with pytest.raises(StorageUnavailable) as caught:
                await read
            assert caught.value.permanent == permanent
            assert "secret" not in caught.value.message


async def test_a_body_longer_than_announced_is_not_taken_in() -> None:
    """Content-Range promises five bytes; the body has many more."""
    headers = {"content-range": "bytes 0-4/1000", "etag": '"e"'}
    async with server(lambda *_: (206, headers, b"x" * 900)) as url:
        with pytest.raises(StorageUnavailable):
            await bucket(url).get_range("a.svs", 0, 5)


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 0-4/3",
        "bytes 0-4/*",
        "bytes 4-0/10",
        "bytes 0-3/10",
        "bytes 1-5/10",
        "lines 0-4/10",
        "bytes 0-99999999999999999999/5",
        "",
    ],
)
async def test_content_ranges_that_do_not_fit(content_range: str) -> None:
    headers = {"content-range": content_range, "etag": '"e"'}
    async with server(lambda *_: (206, headers, b"x" * 5)) as url:
        with pytest.raises(StorageUnavailable):
            await bucket(url).get_range("a.svs", 0, 5)


async def test_a_server_without_ranges_is_a_clear_failure() -> None:
    async with Origin({"a.svs": b"0123456789"}, ranges=False) as origin:
        with pytest.raises(StorageUnavailable, match="range requests"):
            await web(origin.url).get_range("a.svs", 2, 5)
        with pytest.raises(StorageUnavailable, match="range requests"):
            await web(origin.url).get_suffix("a.svs", 5)


async def test_azure_cannot_count_from_the_end() -> None:
    """Head first, then the range, pinned to what head said."""
    async with Origin({"lab/box/dir/a.svs": b"0123456789", "box/dir/a.svs": b"0123456789"}) as origin:
        store = azure("box", "dir", account="lab", endpoint=origin.url, anonymous=True)
        result = await store.get_suffix("a.svs", 4)
        assert (result.start, result.data, result.info.size) == (6, b"6789", 10)
        assert origin.asked == ["HEAD", "GET bytes=6-9"]


async def test_only_strong_etags_go_into_if_match() -> None:
    for etags, pinned in (("strong", True), ("weak", False), ("unquoted", False), ("none", False)):
        seen: list[dict[str, str]] = []
        async with Origin({"a.svs": b"0123456789"}, etags=etags) as origin:
            answer = origin.answer

            def remember(key: str, headers: dict[str, str], answer=answer, seen=seen) -> Answer:  # type: ignore[no-untyped-def]
                seen.append(dict(headers))
                return answer(key, headers)

            origin.answer = remember  # type: ignore[method-assign]
            store = web(origin.url)
            etag = (await store.head("a.svs")).etag
            assert (await store.get_range("a.svs", 0, 5, etag=etag)).data == b"01234"
        assert ("if-match" in seen[-1]) == pinned


async def test_without_etag_and_date_the_size_is_all_there_is_to_compare() -> None:
    async with Origin({"a.svs": b"0123456789"}, etags="none", dates=False) as origin:
        info = await web(origin.url).head("a.svs")
        assert info.modified is None
        assert (await web(origin.url).get_range("a.svs", 0, 3, etag=info.etag)).data == b"012"


class LyingAnswer:
    """An answer of the client itself that does not fit; obstore refuses most of these before, today."""

    def __init__(self, place: tuple[int, int], size: int, parts: list[bytes]) -> None:
        self.range = place
        self.meta = {"path": "a.svs", "last_modified": datetime.now(UTC), "size": size, "e_tag": '"e"', "version": None}
        self.parts = parts
        self.taken = 0

    async def stream(self, min_chunk_size: int) -> AsyncIterator[bytes]:
        for part in self.parts:
            self.taken += 1
            yield part


@pytest.mark.parametrize(
    ("place", "size"),
    [((0, 4), 100), ((1, 6), 100), ((0, 6), 100), ((0, 5), 3), ((5, 0), 100), ((0, 0), 0), ((-5, 5), 100)],
)
async def test_what_the_client_says_is_checked(
    monkeypatch: pytest.MonkeyPatch, place: tuple[int, int], size: int
) -> None:
    answer = LyingAnswer(place, size, [b"x" * max(0, place[1] - place[0])])
    monkeypatch.setattr("obstore.get_async", lambda *_, **__: asyncio.sleep(0, answer))
    with pytest.raises(StorageUnavailable):
        await web("http://127.0.0.1:1").get_range("a.svs", 0, 5)


async def test_an_endless_body_is_left_as_soon_as_it_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = LyingAnswer((0, 5), 100, [b"xxx"] * 1000)
    monkeypatch.setattr("obstore.get_async", lambda *_, **__: asyncio.sleep(0, answer))
    with pytest.raises(StorageUnavailable):
        await web("http://127.0.0.1:1").get_range("a.svs", 0, 5)
    assert answer.taken == 2
