"""The service: work is shared, never mixed between versions, never kept when it failed, refused when there is too much.

Nothing here is measured in time: reads, openings and hits are counted.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from microtome.errors import Busy, CorruptData, InvalidRequest, MicrotomeError, NotFound
from microtome.model import SlideRecord, TileIndex
from microtome.pixels.options import RenderOptions
from microtome.tiles.answer import ImageAnswer
from microtome.tiles.pool import OpenSlide
from microtome.tiles.workers import RenderWorkers
from tests.unit.tiles.test_region import ASKERS, JPEG, ORIGIN, PNG, RECORD, TILE, House, house, noise, pixels, tiff


async def turns(count: int = 30) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def results(tasks: Iterable[asyncio.Task[ImageAnswer]]) -> list[ImageAnswer | BaseException]:
    return await asyncio.gather(*tasks, return_exceptions=True)


# -- one reading, however many ask ------------------------------------------------------------------------------------


async def test_a_tile_is_read_and_rendered_once_however_many_ask() -> None:
    async with house() as it:
        answers = await asyncio.gather(*(it.tile() for _ in range(ASKERS)))
        assert it.slide.reads == [ORIGIN]
        assert it.counters.get("tiles.rendered") == 1
        assert len({(answer.image.data, answer.etag) for answer in answers}) == 1
        assert not any(answer.cache_hit for answer in answers)
        np.testing.assert_array_equal(pixels(answers[0]), noise(70, 100, 1)[:TILE, :TILE])


async def test_a_slide_is_opened_once_however_many_tiles_are_asked_for() -> None:
    async with house() as it:
        indices = [TileIndex(0, column, row) for column in range(4) for row in range(3)]
        await asyncio.gather(*(it.tile(index) for index in indices * 3))
        assert len(it.format.slides) == it.counters.get("slides.opened") == 1
        assert sorted(it.slide.reads) == indices
        assert [request.kind for request in it.store.log].count("suffix") == 1


async def test_the_second_time_it_comes_out_of_the_cache() -> None:
    async with house() as it:
        first = await it.tile()
        second = await it.tile()
        assert (first.cache_hit, second.cache_hit) == (False, True)
        assert (first.image, first.etag) == (second.image, second.etag)
        assert len(it.slide.reads) == 1


async def test_another_rendering_is_another_answer() -> None:
    async with house() as it:
        wishes = [
            PNG,
            JPEG,
            RenderOptions(quality=81),
            RenderOptions(allow_stored=False),
            RenderOptions(intent="perceptual"),
        ]
        answers = [await it.tile(options=options) for options in wishes]
        assert len({answer.etag for answer in answers}) == len(wishes)
        assert len(it.slide.reads) == len(wishes)
        assert len({(await it.tile(TileIndex(0, 1, 0))).etag, answers[0].etag}) == 2


async def test_the_same_answer_has_the_same_etag_in_every_process() -> None:
    async with house() as one, house() as two:
        assert (await one.tile()).etag == (await two.tile()).etag


async def test_a_leader_that_leaves_does_not_fail_the_others() -> None:
    async with house() as it:
        slide = await it.hold()
        leader = asyncio.create_task(it.tile())
        await slide.started.wait()
        others = [asyncio.create_task(it.tile()) for _ in range(ASKERS)]
        await turns()
        leader.cancel()
        others[3].cancel()
        await turns()
        slide.gate.set()
        found = await results([leader, *others])
        gone = [number for number, each in enumerate(found) if isinstance(each, asyncio.CancelledError)]
        assert gone == [0, 4]
        assert sum(isinstance(each, ImageAnswer) for each in found) == ASKERS - 1
        assert (len(slide.reads), slide.cancelled) == (1, 0)
        assert (await it.tile()).cache_hit


async def test_a_tile_nobody_waits_for_is_not_read_on_and_can_be_asked_for_again() -> None:
    async with house() as it:
        slide = await it.hold()
        askers = [asyncio.create_task(it.tile()) for _ in range(3)]
        await slide.started.wait()
        await turns()
        for asker in askers:
            asker.cancel()
        assert all(isinstance(each, asyncio.CancelledError) for each in await results(askers))
        await turns()
        assert (slide.running, slide.cancelled) == (0, 1)
        slide.gate.set()
        assert not (await it.tile()).cache_hit
        assert len(slide.reads) == 2


async def test_a_failing_reader_fails_everyone_who_waits_and_nobody_after() -> None:
    async with house() as it:
        slide = await it.hold()
        slide.failures.append(CorruptData("The tile is broken", offset=8))
        askers = [asyncio.create_task(it.tile()) for _ in range(ASKERS)]
        await slide.started.wait()
        await turns()
        slide.gate.set()
        found = await results(askers)
        assert all(isinstance(each, CorruptData) and each.offset == 8 for each in found)
        assert len(slide.reads) == 1
        answer = await it.tile()
        assert not answer.cache_hit
        assert len(slide.reads) == 2
        np.testing.assert_array_equal(pixels(answer), noise(70, 100, 1)[:TILE, :TILE])


async def test_failing_to_open_fails_everyone_who_waits_and_is_tried_again() -> None:
    async with house(b"this is no slide") as it:
        found = await results([asyncio.create_task(it.tile()) for _ in range(ASKERS)])
        assert all(isinstance(each, MicrotomeError) for each in found)
        assert it.store.requests == 2  # head and tail, once for all of them
        it.store.put("a.tif", tiff(noise(70, 100, 1)))
        assert (await it.tile()).image.size == (TILE, TILE)


async def test_tiles_and_levels_that_do_not_exist_are_refused_unread() -> None:
    async with house() as it:
        for index, parameter in [
            (TileIndex(0, 4, 0), "tile"),
            (TileIndex(0, 0, 3), "tile"),
            (TileIndex(0, -1, 0), "tile"),
            (TileIndex(1, 0, 0), "level"),
            (TileIndex(-1, 0, 0), "level"),
        ]:
            with pytest.raises(InvalidRequest) as caught:
                await it.tile(index)
            assert caught.value.parameter == parameter
        assert it.slide.reads == []
        with pytest.raises(NotFound):
            await it.service.tile(SlideRecord("b", "b.tif"), ORIGIN, PNG)


# -- stored tiles -----------------------------------------------------------------------------------------------------


async def test_a_stored_tile_is_answered_untouched_and_without_waiting() -> None:
    async with house(tiff(noise(70, 100, 1), compression="jpeg")) as it:
        assert it.service.peek_tile(RECORD, ORIGIN, JPEG) is None  # nothing is open yet
        answer = await it.tile(options=JPEG)
        assert answer.image == await it.slide.slide.read_tile(ORIGIN)
        assert (it.counters.get("tiles.untouched"), it.counters.get("tiles.rendered")) == (1, 0)
        peeked = it.service.peek_tile(RECORD, ORIGIN, JPEG)
        assert peeked is not None
        assert (peeked.image, peeked.etag, peeked.cache_hit) == (answer.image, answer.etag, True)
        neighbour = it.service.peek_tile(RECORD, TileIndex(0, 1, 0), JPEG)
        assert neighbour is not None
        assert not neighbour.cache_hit
        assert neighbour == (await it.tile(TileIndex(0, 1, 0), JPEG))._replace(cache_hit=False)
        assert len(it.slide.reads) == 1


async def test_peek_gives_nothing_that_needs_work_or_does_not_exist() -> None:
    async with house(tiff(noise(70, 100, 1), compression="jpeg")) as it:
        await it.service.info(RECORD)
        for index in (TileIndex(0, 9, 0), TileIndex(5, 0, 0), TileIndex(-1, 0, 0), TileIndex(0, -1, -1)):
            assert it.service.peek_tile(RECORD, index, JPEG) is None
        for options in (PNG, RenderOptions(allow_stored=False), RenderOptions(intent="perceptual")):
            assert it.service.peek_tile(RECORD, ORIGIN, options) is None
        rendered = await it.tile(options=PNG)
        assert it.service.peek_tile(RECORD, ORIGIN, PNG) == rendered._replace(cache_hit=True)
        it.now += 10
        assert it.service.peek_tile(RECORD, ORIGIN, PNG) is None


# -- versions ---------------------------------------------------------------------------------------------------------


async def test_a_changed_etag_is_noticed_after_the_revalidation_time_and_the_slide_reopened() -> None:
    async with house() as it:
        old = await it.tile()
        assert old.fresh_until == it.now + 10
        it.store.put("a.tif", tiff(noise(70, 100, 2)))
        assert (await it.tile()).etag == old.etag  # still fresh
        it.now += 10
        new = await asyncio.gather(*(it.tile() for _ in range(ASKERS)))
        assert {answer.etag for answer in new} != {old.etag}
        assert len({answer.etag for answer in new}) == 1
        np.testing.assert_array_equal(pixels(new[0]), noise(70, 100, 2)[:TILE, :TILE])
        assert it.counters.get("slides.opened") == 2
        assert it.counters.get("slides.replaced") == 1
        await turns()
        assert [slide.closed for slide in it.format.slides] == [1, 0]


async def test_a_changed_object_is_noticed_at_once_by_a_reading() -> None:
    """In a file large enough for its middle not to stand in the header bytes that are kept."""
    old, new = noise(1024, 1024, 1), noise(1024, 1024, 2)
    async with house(tiff(old)) as it:
        before = await it.tile()
        it.store.put("a.tif", tiff(new))
        after = await it.tile(TileIndex(0, 16, 16))
        np.testing.assert_array_equal(pixels(after), new[512 : 512 + TILE, 512 : 512 + TILE])
        assert len(it.format.slides) == 2
        assert (await it.tile()).etag != before.etag
        await turns()
        assert [slide.closed for slide in it.format.slides] == [1, 0]


async def test_the_same_bytes_put_again_are_another_version() -> None:
    async with house() as it:
        old = await it.tile()
        it.store.put("a.tif", tiff(noise(70, 100, 1)))
        it.now += 10
        assert (await it.tile()).etag != old.etag


async def test_an_unchanged_object_is_asked_about_and_not_reopened() -> None:
    async with house() as it:
        await it.tile()
        for _ in range(3):
            it.now += 10
            before = it.store.requests
            answer = await it.tile()
            assert answer.cache_hit
            assert answer.fresh_until == it.now + 10
            assert it.store.requests == before + 1
        assert len(it.format.slides) == 1


async def test_an_image_is_never_put_together_of_two_versions() -> None:
    """The object is replaced while the tiles of a thumbnail are being read."""
    black, gray = np.zeros((1024, 1024, 3), np.uint8), np.full((1024, 1024, 3), 128, np.uint8)
    async with house(tiff(black)) as it:
        slide = await it.hold()
        task = asyncio.create_task(it.service.thumbnail(RECORD, 1024, PNG))
        await slide.started.wait()
        # Some tiles of the old version pass, those that follow find the new one.
        placed = len(slide.reads)
        slide.gate.set()
        while len(slide.reads) <= placed:
            await asyncio.sleep(0)
        it.store.put("a.tif", tiff(gray))
        answer = await task
        assert set(np.unique(pixels(answer))) == {128}
        assert len(it.format.slides) == 2


# -- full, closing ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def occupied(workers: RenderWorkers, jobs: int) -> AsyncGenerator[threading.Event]:
    """``jobs`` jobs that run or wait until the event is set."""
    event, started = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def job() -> None:
        loop.call_soon_threadsafe(started.set)
        event.wait()

    tasks = [asyncio.ensure_future(workers.run(job)) for _ in range(jobs)]
    await started.wait()
    try:
        yield event
    finally:
        event.set()
        await asyncio.gather(*tasks)


async def idle(workers: RenderWorkers) -> None:
    while workers.pending:
        await asyncio.sleep(0)


async def test_a_full_pool_is_busy_with_a_hint_and_the_refusal_is_not_kept() -> None:
    workers = RenderWorkers(1, 2)
    async with house(workers=workers) as it:
        async with occupied(workers, 3):
            found = await results([asyncio.create_task(it.tile()) for _ in range(ASKERS)])
            assert all(isinstance(each, Busy) and each.retry_after >= 1 for each in found)
            assert len(it.slide.reads) == 1
        await idle(workers)
        assert not (await it.tile()).cache_hit
        assert (await it.tile()).cache_hit


async def test_a_full_pool_does_not_keep_from_answering_what_needs_no_work() -> None:
    workers = RenderWorkers(1, 0)
    async with house(tiff(noise(70, 100, 1), compression="jpeg"), workers=workers) as it:
        kept = await it.tile(TileIndex(0, 2, 0), PNG)
        await idle(workers)
        async with occupied(workers, 1):
            assert (await it.tile(options=JPEG)).image.media_type == "image/jpeg"
            assert (await it.tile(TileIndex(0, 2, 0), PNG)).image == kept.image
            with pytest.raises(Busy):
                await it.tile(options=PNG)


async def test_rendering_nobody_waits_for_is_taken_out_of_the_queue() -> None:
    workers = RenderWorkers(1, 1)
    async with house(workers=workers) as it:
        async with occupied(workers, 1):
            asker = asyncio.create_task(it.tile())
            while workers.pending < 2:
                await asyncio.sleep(0)
            with pytest.raises(Busy):
                await it.tile(TileIndex(0, 1, 0))
            asker.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asker
            await turns()
            assert workers.pending == 1
            other = asyncio.create_task(it.tile(TileIndex(0, 2, 0)))
            while workers.pending < 2:
                await asyncio.sleep(0)
        assert (await other).image.size == (TILE, TILE)
        assert not (await it.tile()).cache_hit  # the cancelled one left nothing


async def test_an_idle_server_with_a_small_queue_makes_thumbnails() -> None:
    async with house(workers=RenderWorkers(1, 0)) as it:
        assert (await it.service.thumbnail(RECORD, 50, PNG)).image.size == (50, 35)


async def test_idle_slides_are_closed_and_opened_again_without_reading_the_header_twice() -> None:
    async with house() as it:
        first = await it.tile()
        await turns()
        it.now += 59
        it.pool.close_idle()
        assert len(it.pool) == 1
        it.now += 1
        it.pool.close_idle()
        await turns()
        assert (len(it.pool), it.slide.closed) == (0, 1)
        it.store.log.clear()
        again = await it.tile()
        assert (again.image, again.etag, again.cache_hit) == (first.image, first.etag, True)
        await turns()
        assert [request.kind for request in it.store.log] == ["head"]
        assert len(it.format.slides) == 2


async def test_a_slide_in_use_is_not_idle() -> None:
    async with house() as it:
        slide = await it.hold()
        asker = asyncio.create_task(it.tile())
        await slide.started.wait()
        it.now += 1000
        it.pool.close_idle()
        await turns()
        assert (len(it.pool), slide.closed) == (1, 0)
        slide.gate.set()
        assert (await asker).image.size == (TILE, TILE)


async def test_closing_closes_slides_threads_and_cache_once() -> None:
    async with house() as it:
        answer = await it.tile()
        await it.service.close()
        assert [slide.closed for slide in it.format.slides] == [1]
        assert (len(it.pool), it.cache.get(answer.etag)) == (0, None)
        await it.service.close()
        assert [slide.closed for slide in it.format.slides] == [1]


async def test_a_slide_opened_while_all_others_are_in_use_stays_open_until_its_asker_is_done() -> None:
    it = House({name: tiff(noise(70, 100, 1)) for name in ("a.tif", "b.tif")}, capacity=1)
    release = asyncio.Event()

    async def busy(_: OpenSlide) -> None:
        await release.wait()

    async def closed_meanwhile(entry: OpenSlide) -> bool:
        await turns()
        return entry.closed

    holder = asyncio.create_task(it.pool.run(RECORD, busy))
    await turns()
    try:
        assert not await it.pool.run(SlideRecord("b", "b.tif"), closed_meanwhile)
    finally:
        release.set()
        await holder
        await it.service.close()


# -- facts and pictures ------------------------------------------------------------------------------------------------


async def test_a_missing_associated_image_is_not_found_and_not_kept() -> None:
    async with house() as it:
        for _ in range(2):
            with pytest.raises(NotFound) as caught:
                await it.service.associated(RECORD, "label", PNG)
            assert caught.value.what == "associated image"
        assert it.counters.get("tiles.rendered") == 0


async def test_the_version_comes_with_the_facts() -> None:
    async with house() as it:
        info, version = await it.service.versioned_info(RECORD)
        assert info == await it.service.info(RECORD)
        assert (info.size, version) == ((100, 70), (await it.store.head("a.tif")).etag)
