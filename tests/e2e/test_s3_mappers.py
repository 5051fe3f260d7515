"""The mappers of folders over a real bucket: the same exam, and large images that are not listed whole."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest

from microtome.catalog.base import Mapper
from microtome.catalog.kinds import Kinds, by_suffix
from microtome.catalog.paths import PathsMapper
from microtome.catalog.simple import SimpleMapper
from microtome.storage.base import Store
from microtome.storage.counting import Counting
from microtome.storage.remote import s3
from microtome.telemetry import Counters
from microtome.testing.mappers import MapperContract
from tests.e2e.s3server import S3Server

pytestmark = pytest.mark.s3


def is_folder_slide(names: Sequence[str]) -> bool:
    return "zarr.json" in names or any(name.endswith(".dcm") for name in names if "/" not in name)


KINDS = Kinds(by_suffix(), is_folder_slide)


class InBucket(MapperContract):
    @pytest.fixture(autouse=True)
    def _bucket(self, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = s3_server
        self.bucket = f"mapper-{uuid.uuid4().hex}"
        s3_server.create_bucket(self.bucket)
        for name, value in s3_server.settings.items():
            monkeypatch.setenv(name, value)

    async def open(self, keys: Sequence[str]) -> Mapper:
        for key in keys:
            self.server.put(self.bucket, key, b"x")
        return self.over(s3(self.bucket, endpoint=self.server.endpoint))

    def over(self, store: Store) -> Mapper:
        raise NotImplementedError

    async def add(self, mapper: Mapper, key: str) -> None:
        self.server.put(self.bucket, key, b"x")

    async def remove(self, mapper: Mapper, key: str) -> None:
        self.server.delete(self.bucket, key)


class TestSimpleInBucket(InBucket):
    def over(self, store: Store) -> Mapper:
        return SimpleMapper(store, KINDS)

    async def test_a_large_image_costs_a_page_for_each_level(self) -> None:
        assert self.server.folder is not None
        image = self.server.folder / "objects" / self.bucket / "case" / "image.zarr"
        for level in range(2):
            (image / str(level)).mkdir(parents=True)
            for chunk in range(2200):
                (image / str(level) / f"{chunk:05}").write_bytes(b"x")
        (image / "zarr.json").write_bytes(b"{}")
        (image.parent / "last.svs").write_bytes(b"x")
        counters = Counters()
        mapper = self.over(Counting(s3(self.bucket, endpoint=self.server.endpoint), counters))
        [case] = await mapper.cases(None)
        assert {(slide.local_id) for slide in await mapper.slides(case.id)} == {"image.zarr", "last.svs"}
        assert counters.snapshot()["storage.requests"] <= 4, "all of it would be five pages"


class TestPathsInBucket(InBucket):
    context = ""

    def over(self, store: Store) -> Mapper:
        return PathsMapper(store, KINDS)
