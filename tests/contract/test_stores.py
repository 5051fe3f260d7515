"""Every store and every wrapper takes the exam of ``microtome.testing.stores``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from microtome.errors import UnsupportedFormat
from microtome.storage.base import Store
from microtome.storage.blocks import BlockCache
from microtome.storage.coalesce import Coalescing
from microtome.storage.counting import Counting
from microtome.storage.local import LocalStore
from microtome.storage.memory import MemoryStore
from microtome.storage.remote import web
from microtome.storage.retry import Retrying
from microtome.storage.timeout import TimeLimited
from microtome.telemetry import Counters
from microtome.testing.stores import ReadContract, StoreContract
from tests.e2e.origin import Origin


class TestLocalStore(StoreContract):
    follow_symlinks = False

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.root = tmp_path / "slides"
        self.root.mkdir()
        (tmp_path / "outside.svs").write_bytes(b"secret")

    async def open(self, objects: Mapping[str, bytes]) -> Store:
        for key, data in objects.items():
            (self.root / key).parent.mkdir(parents=True, exist_ok=True)
            (self.root / key).write_bytes(data)
        return LocalStore(self.root, follow_symlinks=self.follow_symlinks)

    async def replace(self, store: Store, key: str, data: bytes) -> None:
        new = self.root / "new"
        new.write_bytes(data)
        os.replace(new, self.root / key)  # noqa: PTH105 - rename over, as careful writers do


class TestLocalStoreWithLinks(TestLocalStore):
    follow_symlinks = True


class TestLocalStoreWithoutNowait(TestLocalStore):
    """As on file systems and systems that cannot read without waiting."""

    @pytest.fixture(autouse=True)
    def _no_nowait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("microtome.storage.local._NOWAIT", None)


class TestMemoryStore(StoreContract):
    def wrapped(self, store: MemoryStore) -> Store:
        return store

    async def open(self, objects: Mapping[str, bytes]) -> Store:
        self.memory = MemoryStore(objects)
        return self.wrapped(self.memory)

    async def replace(self, store: Store, key: str, data: bytes) -> None:
        self.memory.put(key, data)


class TestBlockCache(TestMemoryStore):
    def wrapped(self, store: MemoryStore) -> Store:
        return BlockCache(store, 1_000_000, block_size=1000)


class TestBlockCacheTooSmallForAnything(TestMemoryStore):
    def wrapped(self, store: MemoryStore) -> Store:
        return BlockCache(store, 0, block_size=333, bypass=4)


class TestCoalescing(TestMemoryStore):
    def wrapped(self, store: MemoryStore) -> Store:
        return Coalescing(store, gap=100, limit=3000)


class TestRetrying(TestMemoryStore):
    def wrapped(self, store: MemoryStore) -> Store:
        return Retrying(store)


class TestTimeLimited(TestMemoryStore):
    def wrapped(self, store: MemoryStore) -> Store:
        return TimeLimited(store, 60)


class TestCounting(TestMemoryStore):
    def wrapped(self, store: MemoryStore) -> Store:
        return Counting(store, Counters())


class TestWebStore(ReadContract):
    etags = "strong"
    suffixes = True

    @pytest.fixture(autouse=True)
    async def _origin(self) -> AsyncIterator[None]:
        async with Origin(etags=self.etags, suffixes=self.suffixes) as self.origin:
            yield

    async def open(self, objects: Mapping[str, bytes]) -> Store:
        self.origin.objects.update({f"files/{key}": data for key, data in objects.items()})
        return web(f"{self.origin.url}/files/")

    async def replace(self, store: Store, key: str, data: bytes) -> None:
        self.origin.replace(f"files/{key}", data)

    async def test_list_says_that_it_cannot(self) -> None:
        async with self.opened() as store:
            with pytest.raises(UnsupportedFormat, match="cannot list"):
                await anext(store.list())


class TestWebStoreWithoutSuffixes(TestWebStore):
    suffixes = False


class TestWebStoreWithWeakETags(TestWebStore):
    etags = "weak"


class TestWebStoreWithUnquotedETags(TestWebStore):
    etags = "unquoted"


class TestWebStoreWithoutETags(TestWebStore):
    etags = "none"
