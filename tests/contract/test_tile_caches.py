"""Every tile cache takes the exam of ``microtome.testing.tilecaches``."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from microtome.testing.tilecaches import BUDGET, SharedTileCacheContract, TileCacheContract, digest, held, tile
from microtome.tiles.cache import MemoryTileCache, TileCache
from microtome.tiles.shared import SharedTileCache


class TestMemoryTileCache(TileCacheContract):
    def open(self, budget: int) -> TileCache:
        return MemoryTileCache(budget)

    def test_the_least_recently_used_tile_leaves_first(self) -> None:
        with self.opened(3 * 1400) as cache:
            for number in range(3):
                cache.put(digest(number), tile(number, 1000))
            cache.get(digest(0))
            cache.put(digest(3), tile(3, 1000))
            assert held(cache, range(4)) == [tile(number, 1000) for number in (0, 2, 3)]

    def test_a_flood_of_tiny_tiles_is_bounded_too(self) -> None:
        with self.opened(4000) as cache:
            for number in range(1000):
                cache.put(digest(number), tile(number, 1))
            assert 0 < len(held(cache, range(1000))) <= 10


class TestSharedTileCache(SharedTileCacheContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "tiles"

    def opener(self) -> partial[SharedTileCache]:
        return partial(SharedTileCache, self.folder)

    def files(self) -> list[Path]:
        return [self.folder / "data.mdb"]

    def test_nobody_else_may_read_the_folder(self) -> None:
        with self.opened():
            assert self.folder.stat().st_mode & 0o077 == 0
            assert all(path.stat().st_mode & 0o077 == 0 for path in self.folder.iterdir())

    def test_the_disk_in_use_is_bounded(self) -> None:
        """Ten times the budget in tiles smaller and larger than a page; the slack is a few pages, not a budget."""
        budget = 4 * BUDGET
        with self.opened(budget) as cache:
            for number in range(8000):
                cache.put(digest(number), tile(number, (100, 5000, 10_000)[number % 3]))
            assert self.files()[0].stat().st_blocks * 512 < budget * 1.25

    def test_a_process_killed_inside_of_a_transaction_writes_nothing(self) -> None:
        with self.opened() as cache:
            cache.put(digest(1), tile(1))
            self.run_and_expect_kill(_die_while_writing)
            assert cache.get(digest(1)) == tile(1)
            assert cache.get(digest(2)) is None
            self.check_usable(cache)

    def test_a_process_killed_while_it_reads_does_not_stop_the_others_for_good(self) -> None:
        with self.opened() as cache:
            cache.put(digest(1), tile(1))
            self.run_and_expect_kill(_die_while_reading)
            for number in range(200):  # more than the map holds
                cache.put(digest(number), tile(number, 400_000))
            assert cache.get(digest(199)) == tile(199, 400_000)

    def test_a_slow_reader_fills_the_cache_only_as_long_as_it_reads(self, caplog: pytest.LogCaptureFixture) -> None:
        with self.opened() as cache:
            assert isinstance(cache, SharedTileCache)
            cache.put(digest(1), tile(1))
            with caplog.at_level(logging.WARNING), cache._environment.begin():
                for number in range(200):
                    cache.put(digest(number), tile(number, 400_000))
            assert "full" in caplog.text
            self.check_usable(cache)

    def run_and_expect_kill(self, work: object) -> None:
        process = multiprocessing.get_context("spawn").Process(target=work, args=(self.opener(),))  # type: ignore[arg-type]
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL


def _die_while_writing(opener: partial[SharedTileCache]) -> None:
    cache = opener(BUDGET)
    transaction = cache._environment.begin(write=True)
    transaction.put(digest(2).encode(), b"half a tile", db=cache._databases[0])
    os.kill(os.getpid(), signal.SIGKILL)


def _die_while_reading(opener: partial[SharedTileCache]) -> None:
    cache = opener(BUDGET)
    transaction = cache._environment.begin()
    transaction.get(b"young")
    os.kill(os.getpid(), signal.SIGKILL)
