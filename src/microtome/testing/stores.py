"""The exam every Store takes. Inherit from ``StoreContract`` in a test module, say how to make your store, run pytest.

    class TestMyStore(StoreContract):
        async def open(self, objects):
            return MyStore(...)            # holding exactly these objects

        async def replace(self, store, key, data):
            ...                            # put other bytes in the place of an object, behind the store's back

The tests are coroutines; they need pytest-asyncio in its automatic mode. For readable failures call
``pytest.register_assert_rewrite("microtome.testing.stores")`` in ``conftest.py``.
"""

# ruff: noqa: S101 - an exam asserts

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import pytest

from microtome.errors import Conflict, InvalidRequest, NotFound
from microtome.storage.base import ObjectInfo, Store

SLIDE = bytes(range(256)) * 40 + b"the end"
"""10247 bytes; every position below 256 can be told from its value."""

HOSTILE_KEYS = (
    "",
    "/",
    "/etc/passwd",
    "..",
    "../outside.svs",
    "folder/../../outside.svs",
    "folder/./slide.svs",
    "folder//slide.svs",
    "folder/",
    "slide.svs\0",
    "slide.svs\n",
    "..\\outside.svs",
    "C:/slide.svs",
    "%2e%2e/outside.svs",
    "folder/%2e%2e%2foutside.svs",
    "%252e%252e/outside.svs",
    "\ud800",
    "x" * 1025,
)


class ReadContract:
    """What the rest of microtome relies on when it reads. Stores that cannot list take this half of the exam only."""

    async def open(self, objects: Mapping[str, bytes]) -> Store:
        """A store that holds exactly ``objects``."""
        raise NotImplementedError

    async def replace(self, store: Store, key: str, data: bytes) -> None:
        """Put ``data`` in the place of the object ``key``, as somebody else would."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self, objects: Mapping[str, bytes] | None = None) -> AsyncGenerator[Store]:
        """The store of ``open``, closed behind the test."""
        store = await self.open({"folder/slide.svs": SLIDE} if objects is None else objects)
        try:
            yield store
        finally:
            await store.close()

    async def test_head_gives_size_and_etag(self) -> None:
        """Size in bytes, an ETag without quotes, the same twice."""
        async with self.opened() as store:
            info = await store.head("folder/slide.svs")
            assert (info.key, info.size) == ("folder/slide.svs", len(SLIDE))
            assert info.etag
            assert not info.etag.startswith('"')
            assert await store.head("folder/slide.svs") == info

    async def test_range_comes_with_the_object_it_belongs_to(self) -> None:
        """The first read of an object tells its size and ETag as head does."""
        async with self.opened() as store:
            result = await store.get_range("folder/slide.svs", 3, 20)
            assert type(result.data) is bytes
            assert (result.start, result.data) == (3, SLIDE[3:20])
            head = await store.head("folder/slide.svs")
            assert (result.info.size, result.info.etag) == (head.size, head.etag)

    @pytest.mark.parametrize(
        ("start", "stop"),
        [
            (0, 1),
            (0, len(SLIDE)),
            (100, 5000),
            (len(SLIDE) - 1, len(SLIDE)),
            (len(SLIDE) - 10, len(SLIDE) + 1000),
            (len(SLIDE), len(SLIDE) + 10),
            (len(SLIDE) + 5, len(SLIDE) + 10),
            (5, 5),
            (0, 0),
            (0, 10**12),
        ],
    )
    async def test_range_is_cut_at_the_end(self, start: int, stop: int) -> None:
        """As a slice is, pinned or not."""
        async with self.opened() as store:
            result = await store.get_range("folder/slide.svs", start, stop)
            assert result.data == SLIDE[start:stop]
            pinned = await store.get_range("folder/slide.svs", start, stop, etag=result.info.etag)
            assert pinned.data == SLIDE[start:stop]
            assert pinned.info.etag == result.info.etag

    @pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4)])
    async def test_what_is_no_range_is_refused(self, start: int, stop: int) -> None:
        """Negative and reversed ranges are the caller's mistake."""
        async with self.opened() as store:
            with pytest.raises(InvalidRequest):
                await store.get_range("folder/slide.svs", start, stop)

    async def test_ranges_keep_their_order(self) -> None:
        """Overlapping, repeated, distant and backward ranges, each answered in its place."""
        ranges = [(5000, 5010), (0, 4), (2, 8), (0, 4), (len(SLIDE) - 2, len(SLIDE) + 9), (4, 4), (9000, 10000)]
        async with self.opened() as store:
            etag = (await store.head("folder/slide.svs")).etag
            parts = await store.get_ranges("folder/slide.svs", ranges, etag=etag)
            assert parts == [SLIDE[start:stop] for start, stop in ranges]
            assert await store.get_ranges("folder/slide.svs", [], etag=etag) == []

    @pytest.mark.parametrize("length", [0, 1, 100, len(SLIDE), len(SLIDE) * 3])
    async def test_suffix(self, length: int) -> None:
        """The end of the object, or all of it."""
        async with self.opened() as store:
            result = await store.get_suffix("folder/slide.svs", length)
            start = max(0, len(SLIDE) - length)
            assert (result.start, result.data) == (start, SLIDE[start:])
            assert result.info.size == len(SLIDE)

    async def test_empty_object(self) -> None:
        """No bytes, and no error."""
        async with self.opened({"empty.svs": b""}) as store:
            assert (await store.head("empty.svs")).size == 0
            first = await store.get_range("empty.svs", 0, 100)
            assert (first.data, first.info.size) == (b"", 0)
            assert (await store.get_range("empty.svs", 0, 100, etag=first.info.etag)).data == b""
            assert (await store.get_suffix("empty.svs", 100)).data == b""

    async def test_missing_object(self) -> None:
        """Every way to ask says NotFound; so does the name of a folder."""
        async with self.opened() as store:
            for key in ("nothing.svs", "folder/nothing.svs", "folder", "folder/slide.svs/deeper"):
                with pytest.raises(NotFound):
                    await store.head(key)
                with pytest.raises(NotFound):
                    await store.get_range(key, 0, 10)
                with pytest.raises(NotFound):
                    await store.get_suffix(key, 10)

    @pytest.mark.parametrize("key", HOSTILE_KEYS)
    async def test_hostile_keys_do_not_exist(self, key: str) -> None:
        """Nor does the answer tell why."""
        async with self.opened() as store:
            with pytest.raises(NotFound):
                await store.head(key)
            with pytest.raises(NotFound):
                await store.get_range(key, 0, 10)
            with pytest.raises(NotFound):
                await store.get_suffix(key, 10)
            assert store.peek(key, 0, 10, etag="any") is None

    @pytest.mark.parametrize("key", ["a b.svs", "ä/ü.svs", "100%.svs", "a+b&c=d.svs", "we#ird?.svs", "we'ird\"~.svs"])
    async def test_unusual_but_honest_keys(self, key: str) -> None:
        """Spaces, umlauts and the characters of URLs are part of the name."""
        async with self.opened({key: SLIDE}) as store:
            assert (await store.get_range(key, 10, 20)).data == SLIDE[10:20]

    async def test_replaced_object_is_a_conflict(self) -> None:
        """Pinned reads never give bytes of another version; a new read sees the new one."""
        async with self.opened() as store:
            old = (await store.get_range("folder/slide.svs", 0, 10)).info
            await store.get_range("folder/slide.svs", 0, 10, etag=old.etag)
            await self.replace(store, "folder/slide.svs", SLIDE[::-1])
            new = await store.head("folder/slide.svs")
            assert new.etag != old.etag
            with pytest.raises(Conflict):
                await store.get_range("folder/slide.svs", 9000, 9010, etag="never-was")
            for start in (0, 5000):
                await self._old_bytes_or_conflict(store, start, old)
            assert (await store.get_range("folder/slide.svs", 0, 10)).data == SLIDE[::-1][:10]
            assert (await store.get_range("folder/slide.svs", 0, 10, etag=new.etag)).data == SLIDE[::-1][:10]

    async def _old_bytes_or_conflict(self, store: Store, start: int, old: ObjectInfo) -> None:
        """A cache may still know the old version; nothing else is allowed but to refuse."""
        expected = SLIDE[start : start + 10]
        assert store.peek("folder/slide.svs", start, start + 10, etag=old.etag) in (None, expected)
        try:
            data = (await store.get_range("folder/slide.svs", start, start + 10, etag=old.etag)).data
        except Conflict:
            return
        assert data == expected

    async def test_peek_gives_the_bytes_or_nothing(self) -> None:
        """Never wrong bytes, never an error, never another version."""
        async with self.opened() as store:
            etag = (await store.head("folder/slide.svs")).etag
            await store.get_range("folder/slide.svs", 0, len(SLIDE), etag=etag)
            for start, stop in [(0, 10), (5, 5), (5000, 6000), (len(SLIDE) - 5, len(SLIDE) + 5)]:
                assert store.peek("folder/slide.svs", start, stop, etag=etag) in (None, SLIDE[start:stop])
            assert store.peek("folder/slide.svs", 0, 10, etag="never-was") is None
            assert store.peek("nothing.svs", 0, 10, etag=etag) is None
            assert store.peek("folder/slide.svs", -5, 10, etag=etag) is None

    async def test_many_readers_at_once(self) -> None:
        """Each gets what it asked for, also when some of them leave."""
        async with self.opened() as store:
            etag = (await store.head("folder/slide.svs")).etag
            places = [(97 * i % 10_000, 97 * i % 10_000 + 200) for i in range(60)]
            tasks = [
                asyncio.ensure_future(store.get_range("folder/slide.svs", start, stop, etag=etag))
                for start, stop in places
            ]
            await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for number, ((start, stop), result) in enumerate(zip(places, results, strict=True)):
                if number % 3:
                    assert not isinstance(result, BaseException), result
                    assert result.data == SLIDE[start:stop]


class StoreContract(ReadContract):
    """The whole exam: reading and listing."""

    KEYS = (
        "a!b.svs",
        "a-b.svs",
        "a.svs",
        "a/1.svs",
        "a/b/2.svs",
        "a/c.svs",
        "a0.svs",
        "b.svs",
        "ä.svs",
        "\U0001f52c.svs",
    )

    async def _keys(self, store: Store, prefix: str = "", after: str = "") -> list[str]:
        return [info.key async for page in store.list(prefix, after=after) for info in page]

    async def test_list_is_in_bytewise_order(self) -> None:
        """A folder stands where its name with "/" stands; sizes and ETags are those of head."""
        async with self.opened({key: key.encode() for key in reversed(self.KEYS)}) as store:
            assert await self._keys(store) == sorted(self.KEYS, key=str.encode)
            listed = [info async for page in store.list() for info in page]
            for info in listed:
                head = await store.head(info.key)
                assert (info.size, info.etag) == (head.size, head.etag)

    @pytest.mark.parametrize(
        "prefix",
        ["", "a", "a/", "a/b", "a/b/", "a/1.svs", "b", "ä", "nothing", "A", "a/b/2.svs/", "../", "/", "a//", "\0"],
    )
    async def test_list_with_prefix(self, prefix: str) -> None:
        """A prefix is the beginning of a key, not a folder; an impossible one begins none."""
        async with self.opened(dict.fromkeys(self.KEYS, b"1")) as store:
            expected = sorted((key for key in self.KEYS if key.startswith(prefix)), key=str.encode)
            assert await self._keys(store, prefix) == expected

    async def test_list_goes_on_behind_any_key(self) -> None:
        """Whether that key exists or not, with and without a prefix."""
        async with self.opened(dict.fromkeys(self.KEYS, b"1")) as store:
            for after in (*self.KEYS, "a", "a/b", "a/b/zzz", "zzz", "0"):
                expected = sorted((key for key in self.KEYS if key > after), key=str.encode)
                assert await self._keys(store, after=after) == expected
                within = [key for key in expected if key.startswith("a/")]
                assert await self._keys(store, "a/", after) == within

    async def test_list_of_an_empty_store(self) -> None:
        """Nothing."""
        async with self.opened({}) as store:
            assert await self._keys(store) == []
