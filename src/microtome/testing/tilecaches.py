"""The exam every TileCache takes. Inherit in a test module, say how to make your cache, run pytest.

    class TestMyTileCache(TileCacheContract):
        def open(self, budget):
            return MyTileCache(budget)

A cache that the processes of a machine share takes ``SharedTileCacheContract`` instead, which includes the first. For
readable failures call ``pytest.register_assert_rewrite("microtome.testing.tilecaches")`` in ``conftest.py``.
"""

# ruff: noqa: S101, S311 - an exam asserts, and its chance is to be the same every time

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from microtome.model import EncodedTile, Size
from microtome.tiles.cache import TileCache

BUDGET = 1_000_000
"""Bytes. Tiles of the exam are a small part of it where nothing else is said."""

Opener = Callable[[int], TileCache]
"""Opens the cache with a budget in bytes. For shared caches it can be pickled, so that another process may call it."""


def digest(number: int) -> str:
    """A key as ``tile_key`` makes them: 32 hexadecimal digits without an order."""
    return blake2b(str(number).encode(), digest_size=16).hexdigest()


def tile(number: int, nbytes: int = 10_000) -> EncodedTile:
    """A tile whose bytes tell its number."""
    seed = f"tile {number};".encode()
    return EncodedTile((seed * (nbytes // len(seed) + 1))[:nbytes], "image/jpeg", Size(256, 240), "rgb")


def held(cache: TileCache, numbers: Sequence[int]) -> list[EncodedTile]:
    """What the cache holds of these numbers."""
    found = (cache.get(digest(number)) for number in numbers)
    return [each for each in found if each is not None]


class TileCacheContract:
    """What the tile service relies on. Every cache may forget; none may answer wrongly or grow without end."""

    def open(self, budget: int) -> TileCache:
        """An empty cache of ``budget`` bytes."""
        raise NotImplementedError

    @contextmanager
    def opened(self, budget: int = BUDGET) -> Generator[TileCache]:
        """The cache of ``open``, closed behind the test."""
        cache = self.open(budget)
        try:
            yield cache
        finally:
            cache.close()

    @pytest.mark.parametrize(
        "each",
        [
            tile(1),
            EncodedTile(bytes(range(256)), "image/png", Size(1, 1), "gray"),
            EncodedTile(b"\0", "image/j2c", Size(65_535, 3), "ycbcr"),
            EncodedTile(b"", "application/vnd.mapbox-vector-tile", Size(4096, 4096), "other"),
            tile(2, BUDGET // 4),
        ],
        ids=["jpeg", "png", "one byte", "no bytes", "large"],
    )
    def test_what_was_put_comes_back(self, each: EncodedTile) -> None:
        """All four facts of it, and as often as it is asked for."""
        with self.opened() as cache:
            cache.put(digest(1), each)
            assert cache.get(digest(1)) == each
            assert cache.get(digest(1)) == each
            found = cache.get(digest(1))
            assert found is not None
            assert type(found.data) is bytes
            assert type(found.size) is Size

    def test_what_was_not_put_is_not_there(self) -> None:
        """Nor under a key that is nearly the same."""
        with self.opened() as cache:
            assert cache.get(digest(1)) is None
            cache.put(digest(1), tile(1))
            assert cache.get(digest(2)) is None
            assert cache.get(digest(1)[:-1]) is None
            assert cache.get(digest(1) + "0") is None

    def test_the_last_tile_put_under_a_key_counts(self) -> None:
        """Wherever the cache keeps the older one."""
        with self.opened() as cache:
            for number in range(300):
                cache.put(digest(number), tile(number))
                cache.put(digest(0), tile(1000 + number))
                assert cache.get(digest(0)) == tile(1000 + number)

    def test_the_budget_is_honoured(self) -> None:
        """After every put, while ten times the budget goes in; and it is not honoured by keeping nothing."""
        with self.opened() as cache:
            sizes = random.Random(1)
            for number in range(1000):
                cache.put(digest(number), tile(number, sizes.randrange(1, BUDGET // 50)))
                if number % 50 == 49:
                    kept = sum(len(each.data) for each in held(cache, range(number + 1)))
                    assert kept <= BUDGET
                    assert kept > BUDGET // 4 or number < 100

    def test_what_is_put_is_there_at_once(self) -> None:
        """However full the cache is."""
        with self.opened() as cache:
            for number in range(300):
                cache.put(digest(number), tile(number))
                assert cache.get(digest(number)) == tile(number)

    def test_what_is_asked_for_stays_and_the_rest_leaves(self) -> None:
        """A least-recently-used order, or a likeness of it."""
        with self.opened() as cache:
            cache.put(digest(-1), tile(-1))
            cache.put(digest(-2), tile(-2))
            for number in range(300):
                cache.put(digest(number), tile(number))
                assert cache.get(digest(-1)) == tile(-1)
            assert cache.get(digest(-2)) is None
            assert cache.get(digest(0)) is None

    @pytest.mark.parametrize("nbytes", [BUDGET, BUDGET + 1, 3 * BUDGET])
    def test_a_tile_beyond_the_budget_is_not_kept(self, nbytes: int) -> None:
        """And costs nothing of what is there: with its key and size it is larger than the whole budget."""
        with self.opened() as cache:
            for number in range(5):
                cache.put(digest(number), tile(number))
            cache.put(digest(9), tile(9, nbytes))
            assert cache.get(digest(9)) is None
            assert held(cache, range(5)) == [tile(number) for number in range(5)]

    @pytest.mark.parametrize("budget", [0, 1, 100])
    def test_a_budget_too_small_for_anything(self, budget: int) -> None:
        """Keeps nothing and raises nothing."""
        with self.opened(budget) as cache:
            for number in range(20):
                cache.put(digest(number), tile(number, 200))
            assert held(cache, range(20)) == []

    @pytest.mark.parametrize("seed", range(3))
    def test_an_answer_is_the_last_tile_put_or_none(self, seed: int) -> None:
        """Against a dict that forgets nothing."""
        chance = random.Random(seed)
        truth: dict[int, EncodedTile] = {}
        hits = 0
        with self.opened(200_000) as cache:
            for step in range(1500):
                number = min(chance.randrange(60), chance.randrange(60))
                if chance.random() < 0.5:
                    truth[number] = tile(step, chance.randrange(15_000))
                    cache.put(digest(number), truth[number])
                else:
                    found = cache.get(digest(number))
                    hits += found is not None
                    assert found is None or found == truth[number]
        assert hits > 100

    def test_a_closed_cache_is_empty_and_quiet(self) -> None:
        """The last request may come after the end."""
        cache = self.open(BUDGET)
        cache.put(digest(1), tile(1))
        cache.close()
        assert cache.get(digest(1)) is None
        cache.put(digest(2), tile(2))
        cache.close()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda _: b"",
    "zeroed": lambda data: bytes(len(data)),
    "garbage": lambda data: random.Random(1).randbytes(len(data)),
    "cut short": lambda data: data[: min(8192, len(data) // 2)],
    "damaged inside": lambda data: data[:8192] + random.Random(2).randbytes(len(data) - 8192),
}
"""What can have happened to a file between two processes."""


class SharedTileCacheContract(TileCacheContract):
    """The exam of caches that live in files which several processes open at the same time."""

    def opener(self) -> Opener:
        """What opens the same cache each time, in any process. Must be possible to pickle."""
        raise NotImplementedError

    def files(self) -> list[Path]:
        """The files that hold the tiles, once the cache was opened."""
        raise NotImplementedError

    def open(self, budget: int) -> TileCache:
        """The cache of ``opener``."""
        return self.opener()(budget)

    def test_a_second_process_sees_the_tiles_of_the_first_and_the_other_way_round(self) -> None:
        """While both are at work."""
        with self.opened() as cache:
            for number in range(10):
                cache.put(digest(number), tile(number))
            with _another(_answer_and_put, self.opener()) as (process, pipe):
                assert pipe.recv() == [tile(number) for number in range(10)]
                assert held(cache, range(10, 20)) == [tile(number) for number in range(10, 20)]
                process.join()
                assert process.exitcode == 0
            assert held(cache, range(20)) == [tile(number) for number in range(20)]

    def test_a_closed_cache_is_found_again(self) -> None:
        """By whoever opens it next."""
        with self.opened() as cache:
            cache.put(digest(1), tile(1))
        with self.opened() as cache:
            assert cache.get(digest(1)) == tile(1)

    def test_processes_that_write_at_the_same_time(self) -> None:
        """No tile is ever another's, and the budget is the budget of all of them."""
        with self.opened() as cache:
            with (
                _another(_write_and_check, self.opener()) as (one, _),
                _another(_write_and_check, self.opener()) as (
                    two,
                    _,
                ),
            ):
                for number in range(300):
                    cache.put(digest(number), tile(number))
                    assert cache.get(digest(number)) in (None, tile(number))
                one.join()
                two.join()
                assert (one.exitcode, two.exitcode) == (0, 0)
            kept = [(number, cache.get(digest(number))) for number in range(300)]
            assert all(found in (None, tile(number)) for number, found in kept)
            assert 0 < sum(len(found.data) for _, found in kept if found is not None) <= BUDGET

    @pytest.mark.parametrize("puts", [1, 40, 150])
    def test_a_process_that_is_killed_while_it_writes(self, puts: int) -> None:
        """Costs at most what it wrote: the others go on, and new ones can begin."""
        with self.opened() as cache:
            with _another(_write_for_ever, self.opener()) as (process, pipe):
                for _ in range(puts):
                    pipe.recv()
                process.kill()
                process.join()
                assert process.exitcode == -signal.SIGKILL
            self.check_usable(cache)
        with self.opened() as cache:
            self.check_usable(cache)

    def check_usable(self, cache: TileCache) -> None:
        """Nothing is wrong in it, and it takes and gives tiles through more than one eviction."""
        for number in range(300):
            assert cache.get(digest(number)) in (None, tile(number))
        for number in range(300):
            cache.put(digest(number), tile(number))
            assert cache.get(digest(number)) == tile(number)

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_file_is_an_empty_cache(self, damage: str) -> None:
        """Not a process that ends, nor one that cannot start."""
        with self.opened() as cache:
            for number in range(50):
                cache.put(digest(number), tile(number))
        for path in self.files():
            path.write_bytes(DAMAGES[damage](path.read_bytes()))
        with _another(_use, self.opener()) as (process, _):
            process.join()
            assert process.exitcode == 0

    def test_a_file_damaged_while_it_is_open(self) -> None:
        """Costs tiles, not the process. (A file that becomes shorter than its map ends any process that reads it.)"""
        with self.opened():
            pass
        with _another(_damage_and_use, self.opener(), self.files()) as (process, _):
            process.join()
            assert process.exitcode == 0


@contextmanager
def _another(
    work: Callable[..., None], opener: Opener, *rest: object
) -> Generator[tuple[BaseProcess, Connection[object, object]]]:
    """A process of its own that does ``work(opener, pipe, *rest)``, and our end of the pipe; gone behind the test."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(opener, theirs, *rest))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()


def _answer_and_put(opener: Opener, pipe: Connection[object, object]) -> None:
    cache = opener(BUDGET)
    found = held(cache, range(10))
    for number in range(10, 20):
        cache.put(digest(number), tile(number))
    pipe.send(found)
    cache.close()


def _write_and_check(opener: Opener, _: Connection[object, object]) -> None:
    cache = opener(BUDGET)
    for number in range(300):
        cache.put(digest(number), tile(number))
        assert cache.get(digest(number)) in (None, tile(number))
    cache.close()


def _write_for_ever(opener: Opener, pipe: Connection[object, object]) -> None:
    cache = opener(BUDGET)
    number = 0
    while os.getppid() != 1:
        cache.put(digest(number % 300), tile(number % 300))
        number += 1
        pipe.send(number)


def _use(opener: Opener, _: Connection[object, object]) -> None:
    cache = opener(BUDGET)
    held(cache, range(50))
    for number in range(300):
        cache.put(digest(number), tile(number))
        assert cache.get(digest(number)) == tile(number)
    cache.close()


def _damage_and_use(opener: Opener, _: Connection[object, object], files: list[Path]) -> None:
    cache = opener(BUDGET)
    for number in range(300):
        cache.put(digest(number), tile(number))
    for path in files:
        with path.open("r+b") as file:
            data = file.read()
            file.seek(0)
            file.write(DAMAGES["damaged inside"](data[: 4 * BUDGET]))
    held(cache, range(300))
    for number in range(300):
        cache.put(digest(number), tile(number))
    held(cache, range(300))
    cache.close()
