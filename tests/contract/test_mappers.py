"""Every mapper takes the exam of ``microtome.testing.mappers``, over a folder and over a store that is none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from microtome.catalog.base import Mapper
from microtome.catalog.custom import CustomMapper
from microtome.catalog.kinds import Kinds, by_suffix
from microtome.catalog.paths import PathsMapper
from microtome.catalog.simple import SimpleMapper
from microtome.catalog.table import TableMapper
from microtome.catalog.walk import WalkingMapper
from microtome.storage.base import Store
from microtome.storage.local import LocalStore
from microtome.storage.memory import MemoryStore
from microtome.testing.mappers import SLIDES, MapperContract


def has_dicom(names: Sequence[str]) -> bool:
    return any(name.endswith(".dcm") for name in names if "/" not in name)


KINDS = Kinds(by_suffix(), has_dicom)


class Local(MapperContract):
    """Files of this machine, with links that lead out of the root."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.root = tmp_path / "data"
        (self.root / "first").mkdir(parents=True)
        outside = tmp_path / "outside"
        outside.mkdir()
        for path in (tmp_path / "outside.svs", outside / "outside.svs"):
            path.write_bytes(b"secret")
        (self.root / "first" / "link.svs").symlink_to(tmp_path / "outside.svs")
        (self.root / "link").symlink_to(outside)

    def put(self, key: str) -> None:
        (self.root / key).parent.mkdir(parents=True, exist_ok=True)
        (self.root / key).write_bytes(b"x")

    async def open(self, keys: Sequence[str]) -> Mapper:
        for key in keys:
            self.put(key)
        return await self.over(LocalStore(self.root))

    async def over(self, store: Store) -> Mapper:
        raise NotImplementedError

    async def add(self, mapper: Mapper, key: str) -> None:
        self.put(key)

    async def remove(self, mapper: Mapper, key: str) -> None:
        (self.root / key).unlink()


class InMemory(MapperContract):
    """A store without paths, as buckets are."""

    async def open(self, keys: Sequence[str]) -> Mapper:
        self.store = MemoryStore(dict.fromkeys(keys, b"x"))
        return await self.over(self.store)

    async def over(self, store: Store) -> Mapper:
        raise NotImplementedError

    async def add(self, mapper: Mapper, key: str) -> None:
        self.store.put(key, b"x")

    async def remove(self, mapper: Mapper, key: str) -> None:
        self.store.delete(key)


class Simple:
    async def over(self, store: Store) -> Mapper:
        return SimpleMapper(store, KINDS)


class TestSimpleLocal(Simple, Local):
    pass


class TestSimpleInMemory(Simple, InMemory):
    pass


class Paths:
    context = ""

    async def over(self, store: Store) -> Mapper:
        return PathsMapper(store, KINDS)


class TestPathsLocal(Paths, Local):
    pass


class TestPathsInMemory(Paths, InMemory):
    pass


class Walking:
    async def over(self, store: Store) -> Mapper:
        return WalkingMapper(store, KINDS, data_dir="/data")


class TestWalkingLocal(Walking, Local):
    pass


class TestWalkingInMemory(Walking, InMemory):
    pass


class Table:
    """The table is written anew with every change of the files."""

    async def over(self, store: Store) -> Mapper:
        self.tables = MemoryStore()
        self.keys = list(SLIDES)
        self.write()
        return TableMapper(store, KINDS, tables=self.tables, source="data.csv", data_dir="/data")

    def write(self) -> None:
        lines = ["\t".join(("g", "p", key, key.partition("/")[0], key)) for key in self.keys]
        self.tables.put("data.csv", "\n".join(lines).encode())

    async def add(self, mapper: Mapper, key: str) -> None:
        self.keys.append(key)
        self.write()

    async def remove(self, mapper: Mapper, key: str) -> None:
        self.keys.remove(key)
        self.write()


class TestTableLocal(Table, Local):
    pass


class TestTableInMemory(Table, InMemory):
    pass


class TestCustom(Local):
    """A class as somebody would write it for WSI-Service."""

    async def over(self, store: Store) -> Mapper:
        (self.root.parent / "their_mapper.py").write_text(
            dedent("""
            from pathlib import Path

            class TheirMapper:
                def __init__(self, data_dir):
                    self.root = Path(data_dir)

                def get_cases(self, context=None):
                    folders = sorted(p for p in self.root.iterdir() if p.is_dir() and not p.is_symlink())
                    return [
                        {"id": p.name, "local_id": p.name, "slides": [s["id"] for s in self.get_slides(p.name)]}
                        for p in folders
                    ]

                def get_slides(self, case_id):
                    if case_id not in {p.name for p in self.root.iterdir()} or (self.root / case_id).is_symlink():
                        return None
                    return [s for s in map(self.slide_at, sorted((self.root / case_id).iterdir())) if s]

                def get_slide(self, slide_id):
                    if slide_id.count("/") == 1 and slide_id.isprintable() and len(slide_id) < 100:
                        return self.slide_at(self.root / slide_id)

                def slide_at(self, path):
                    key = f"{path.parent.name}/{path.name}"
                    if path.is_symlink() or path.parent.is_symlink():
                        return None
                    others = []
                    if path.suffix == ".mrxs":
                        others = sorted(path.with_suffix("").iterdir())
                    elif path.is_dir():
                        others = sorted(path.glob("*.dcm"))
                    if not others and path.suffix.lower() not in {".svs", ".tiff"} or not path.exists():
                        return None
                    addresses = [
                        {"address": str(p.relative_to(self.root)), "main_address": False, "slide_id": key,
                         "storage_address_id": p.name}
                        for p in others
                    ]
                    addresses.append(
                        {"address": key, "main_address": True, "slide_id": key, "storage_address_id": key}
                    )
                    storage = {"slide_id": key, "storage_type": "fs", "storage_addresses": addresses}
                    return {"id": key, "local_id": path.name, "slide_storage": storage}
            """)
        )
        return await CustomMapper.open("their_mapper:TheirMapper", data_dir=str(self.root))

    @pytest.fixture(autouse=True)
    def _importable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "their_mapper", raising=False)
