"""The catalogue of a real bucket: slides of many files are listed once and passed over, page by page."""

from __future__ import annotations

import uuid

import pytest

from microtome.catalog.folder import FolderCatalog
from microtome.catalog.kinds import kinds_of
from microtome.formats.registry import FormatRegistry
from microtome.storage.counting import Counting
from microtome.storage.remote import s3
from microtome.telemetry import Counters
from tests.e2e.s3server import S3Server

pytestmark = pytest.mark.s3


async def test_slides_of_many_files_in_a_bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = f"catalogue-{uuid.uuid4().hex}"
    s3_server.create_bucket(bucket)
    for name, value in s3_server.settings.items():
        monkeypatch.setenv(name, value)
    assert s3_server.folder is not None
    objects = s3_server.folder / "objects" / bucket
    for zoom, count in ((0, 1), (5, 4000)):
        for number in range(count):
            path = objects / f"b tiles/{zoom}/{number}/0.pbf"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    for key in ("a.svs", "b tiles.svs", "c/Ä/1.dcm", "c/Ä/2.dcm", "c/Ä.svs", "m/x.mrxs", "m/x/Slidedat.ini", "z.svs"):
        (objects / key).parent.mkdir(parents=True, exist_ok=True)
        (objects / key).write_bytes(b"x")
    listed = ["a.svs", "b tiles.svs", "b tiles", "c/Ä.svs", "c/Ä", "m/x.mrxs", "z.svs"]
    counters = Counters()
    store = Counting(s3(bucket, endpoint=s3_server.endpoint), counters)
    catalog = FolderCatalog(store, kinds_of(FormatRegistry.from_entry_points()))
    page = await catalog.list(limit=100)
    assert [record.key for record in page.slides] == listed
    assert counters.snapshot()["storage.requests"] <= 3, "all of it would be five pages"
    found: list[str] = []
    cursor: str | None = None
    for _ in listed:
        page = await catalog.list(limit=1, cursor=cursor)
        found += [record.key for record in page.slides]
        cursor = page.next_cursor
    assert (found, cursor) == (listed, None)
    assert [record.key for record in (await catalog.list(limit=9, prefix="c/Ä")).slides] == ["c/Ä.svs", "c/Ä"]
    assert (await catalog.list(limit=9, prefix="b tiles/5")).slides == ()
    await store.close()
