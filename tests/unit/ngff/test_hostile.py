"""Whatever stands in the metadata and the chunks: only errors of the house, nothing large in memory, no code run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, UnsupportedFormat
from microtome.formats.ngff import NgffFormat
from microtome.model import TileIndex
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject
from tests.unit.ngff.images import attributes, objects, opened, samples, stored, write


def array_v2(**changed: Any) -> dict[str, Any]:
    return {
        "zarr_format": 2, "shape": [128, 128], "chunks": [64, 64], "dtype": "<u2", "compressor": None,
        "fill_value": 0, "order": "C", "filters": None,
    } | changed  # fmt: skip


def array_v3(**changed: Any) -> dict[str, Any]:
    return {
        "zarr_format": 3, "node_type": "array", "shape": [128, 128], "data_type": "uint16", "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64, 64]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    } | changed  # fmt: skip


def sharded(count: int = 2, **changed: Any) -> dict[str, Any]:
    codec = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [64, 64],
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        }
        | changed,
    }
    grid = {"name": "regular", "configuration": {"chunk_shape": [64 * count, 64 * count]}}
    return array_v3(chunk_grid=grid, codecs=[codec])


def image(array: Any, version: int = 2, ome: Any = None, chunks: dict[str, bytes] | None = None) -> MemoryStore:
    told = attributes("yx", ["0"]) if ome is None else ome
    if version == 3:
        files: dict[str, Any] = {"zarr.json": {"attributes": {"ome": told}}, "0/zarr.json": array}
    else:
        files = {".zattrs": told, "0/.zarray": array}
    return objects(files | {f"0/{name}": data for name, data in (chunks or {}).items()})


async def use(store: MemoryStore) -> None:
    slide = await opened(store)
    info = await slide.info()
    for number, level in enumerate(info.levels[:3]):
        await slide.read_tile(TileIndex(number, 0, 0))
        await slide.read_tile(TileIndex(number, level.columns - 1, level.rows - 1, info.focal_planes - 1))


async def refusal(store: MemoryStore) -> MicrotomeError:
    tracemalloc.start()
    try:
        with pytest.raises(MicrotomeError) as caught:
            async with asyncio.timeout(10):
                await use(store)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert len(caught.value.message) > 15
    return caught.value


@pytest.mark.parametrize(
    ("ome", "kind", "hint"),
    [
        ({}, UnsupportedFormat, "no OME image"),
        ({"multiscales": []}, UnsupportedFormat, "no OME image"),
        ({"multiscales": ["x"]}, CorruptData, "levels"),
        ({"multiscales": [{"datasets": [{"path": "../../etc"}]}]}, CorruptData, "path"),
        ({"multiscales": [{"datasets": [{"path": "0/../1"}]}]}, CorruptData, "path"),
        ({"multiscales": [{"datasets": [{"path": 5}]}]}, CorruptData, "path"),
        ({"multiscales": [{"datasets": [{"path": "0"}] * 2}]}, CorruptData, "different"),
        ({"multiscales": [{"datasets": [{"path": str(n)} for n in range(99)]}]}, CorruptData, "levels"),
        ({"multiscales": [{"axes": ["x"], "datasets": [{"path": "0"}]}]}, UnsupportedFormat, "y and x"),
        ({"multiscales": [{"axes": ["q", "y", "x"], "datasets": [{"path": "0"}]}]}, UnsupportedFormat, "Axes"),
        ({"multiscales": [{"axes": ["c", "y", "x"], "datasets": [{"path": "0"}]}]}, CorruptData, "axes"),
        ({"plate": {"wells": [{"path": "B/7"}], "rows": []}}, UnsupportedFormat, "B/7/0"),
        ({"plate": None}, UnsupportedFormat, "plate"),
        ({"well": {"images": [{"path": "3"}]}}, UnsupportedFormat, "example 3"),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
async def test_groups_that_are_no_image(ome: Any, kind: type[MicrotomeError], hint: str, version: int) -> None:
    error = await refusal(image(array_v2() if version == 2 else array_v3(), version, ome))
    assert type(error) is kind
    assert hint in error.message


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"zarr_format": 3}, UnsupportedFormat),
        ({"shape": [0, 5]}, CorruptData),
        ({"shape": [-1, 5]}, CorruptData),
        ({"shape": [1 << 60, 5]}, CorruptData),
        ({"shape": [True, 5]}, CorruptData),
        ({"shape": "big"}, CorruptData),
        ({"shape": [1] * 9}, CorruptData),
        ({"chunks": [0, 64]}, CorruptData),
        ({"chunks": [64]}, CorruptData),
        ({"chunks": [64, 64, 64]}, CorruptData),
        ({"dtype": "|O"}, UnsupportedFormat),
        ({"dtype": "<U9"}, UnsupportedFormat),
        ({"dtype": "<c8"}, UnsupportedFormat),
        ({"dtype": [["a", "<u2"]]}, UnsupportedFormat),
        ({"dtype": "<u3"}, UnsupportedFormat),
        ({"compressor": {"id": "pickle"}}, UnsupportedFormat),
        ({"filters": [{"id": "pickle"}]}, UnsupportedFormat),
        ({"filters": [{"id": "json2"}], "dtype": "|O"}, UnsupportedFormat),
        ({"compressor": {"id": "__import__"}}, UnsupportedFormat),
        ({"compressor": "zlib"}, UnsupportedFormat),
        ({"filters": [{"id": "shuffle", "elementsize": 1 << 40}]}, UnsupportedFormat),
        ({"filters": [{"id": "delta", "dtype": "|O"}]}, UnsupportedFormat),
    ],
)
async def test_arrays_v2_that_are_refused(changed: dict[str, Any], kind: type[MicrotomeError]) -> None:
    assert type(await refusal(image(array_v2(**changed)))) is kind


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (array_v3(zarr_format=2), UnsupportedFormat),
        (array_v3(node_type="group"), UnsupportedFormat),
        (array_v3(data_type="string"), UnsupportedFormat),
        (array_v3(data_type={"name": "structured"}), UnsupportedFormat),
        (array_v3(codecs=["bytes", "numcodecs.pickle"]), UnsupportedFormat),
        (array_v3(codecs=["bytes", "vlen-utf8"]), UnsupportedFormat),
        (array_v3(chunk_grid={"name": "rectilinear"}), UnsupportedFormat),
        (array_v3(chunk_key_encoding={"name": "odd"}), UnsupportedFormat),
        (array_v3(chunk_key_encoding={"name": "default", "configuration": {"separator": "/../"}}), UnsupportedFormat),
        (array_v3(storage_transformers=[{"name": "x"}]), UnsupportedFormat),
        (array_v3(codecs=[{"name": "transpose", "configuration": {"order": [0, 0]}}, "bytes"]), CorruptData),
        (array_v3(codecs=[{"name": "transpose", "configuration": {"order": ["0", {}]}}, "bytes"]), CorruptData),
        (sharded(chunk_shape=[60, 60]), CorruptData),
        (sharded(chunk_shape=[]), CorruptData),
        (sharded(index_codecs=["zstd"]), UnsupportedFormat),
        (sharded(codecs=[{"name": "sharding_indexed", "configuration": {}}]), UnsupportedFormat),
        (sharded(1 << 20), UnsupportedFormat),
    ],
)
async def test_arrays_v3_that_are_refused(array: Any, kind: type[MicrotomeError]) -> None:
    assert type(await refusal(image(array, 3))) is kind


async def test_levels_that_do_not_fit_together() -> None:
    ome = attributes("yx", ["0", "1"])
    for other in (array_v2(dtype="<u4"), array_v2(shape=[999, 999])):
        files = {".zattrs": ome, "0/.zarray": array_v2(), "1/.zarray": other}
        assert type(await refusal(objects(files))) is CorruptData


@pytest.mark.parametrize("coarse", [{}, {"zarr_format": 2}, None])
async def test_a_broken_coarse_end_is_left_out(coarse: Any) -> None:
    files = {".zattrs": attributes("yx", ["0", "1"]), "0/.zarray": array_v2()}
    slide = await opened(objects(files if coarse is None else files | {"1/.zarray": coarse}))
    assert len((await slide.info()).levels) == 1


async def test_a_level_without_metadata_is_corrupt() -> None:
    assert type(await refusal(objects({".zattrs": attributes("yx", ["0"])}))) is CorruptData
    assert type(await refusal(objects({"0/.zarray": array_v2(), ".zgroup": {}}))) is UnsupportedFormat


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"])
async def test_metadata_that_are_no_json(text: bytes) -> None:
    assert isinstance(await refusal(objects({".zattrs": text})), CorruptData)


async def test_huge_metadata_are_not_parsed() -> None:
    assert "bytes" in (await refusal(objects({".zattrs": b" " * (17 << 20)}))).message


async def test_chunks_too_large_are_refused_before_they_are_read() -> None:
    store = image(array_v2(shape=[40_000, 40_000], chunks=[40_000, 40_000]), chunks={"0.0": bytes(100)})
    slide = await opened(store)
    store.log.clear()
    with pytest.raises(LimitExceeded):
        await slide.read_tile(TileIndex(0, 0, 0))
    assert store.log == []
    many = attributes("cyx", ["0"])
    array = array_v2(shape=[1000, 4096, 4096], chunks=[1, 2048, 2048])
    assert isinstance(await refusal(image(array, ome=many)), LimitExceeded)
    array = array_v2(shape=[1 << 30, 64, 64], chunks=[1, 64, 64])
    assert isinstance(await refusal(image(array, ome=many)), UnsupportedFormat)


def bombs() -> list[tuple[dict[str, Any], bytes]]:
    zeros = bytes(200 << 20)
    blosc = bytearray(imagecodecs.blosc_encode(bytes(8192), typesize=2))
    blosc[4:8] = struct.pack("<I", 1 << 31)
    return [
        ({"id": "zlib"}, zlib.compress(zeros, 9)),
        ({"id": "zstd"}, bytes(imagecodecs.zstd_encode(zeros, level=1))),
        ({"id": "lz4"}, struct.pack("<I", 1 << 30) + bytes(50)),
        ({"id": "blosc"}, bytes(blosc)),
    ]


@pytest.mark.parametrize(("compressor", "data"), bombs(), ids=["zlib", "zstd", "lz4", "blosc"])
async def test_chunks_never_become_larger_than_their_array_says(compressor: dict[str, Any], data: bytes) -> None:
    store = image(array_v2(compressor=compressor), chunks={"0.0": data})
    tracemalloc.start()
    try:
        slide = await opened(store)
        with contextlib.suppress(CorruptData):
            await slide.read_tile(TileIndex(0, 0, 0))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [b"", bytes(8191), bytes(8193), pickle.dumps(print)],
)
async def test_chunks_of_the_wrong_length(data: bytes) -> None:
    assert isinstance(await refusal(image(array_v2(), chunks={"0.0": data})), CorruptData)


@pytest.mark.parametrize("name", ["zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "blosc", "crc32c"])
async def test_garbage_in_chunks(name: str) -> None:
    for data in (b"", b"\0", bytes(20), bytes(range(256)) * 4, b"\xff" * 5000):
        error = await refusal(image(array_v2(compressor={"id": name}), chunks={"0.0": data}))
        assert isinstance(error, CorruptData)


@pytest.mark.parametrize(
    "places",
    [(0, 1 << 62), (1 << 63, 8192), ((1 << 64) - 1, 5), (100_000, 8192), (0, 100), (0, 8191)],
)
async def test_the_index_of_a_shard_may_lie(places: tuple[int, int]) -> None:
    shard = bytes(8192) + struct.pack("<QQ", *places) * 4
    assert isinstance(await refusal(image(sharded(), 3, chunks={"c/0/0": shard})), CorruptData)
    assert isinstance(await refusal(image(sharded(), 3, chunks={"c/0/0": shard[-60:]})), CorruptData)


async def test_checksums_are_checked(tmp_path: Path) -> None:
    write(tmp_path / "i", [samples((128, 128))], "yx", version=3, chunks=(64, 64), shards=(128, 128))
    name = tmp_path / "i" / "0" / "c" / "0" / "0"
    data = bytearray(name.read_bytes())
    data[-10] ^= 1
    name.write_bytes(data)
    error = await refusal(stored(tmp_path / "i"))
    assert "checksum" in error.message


async def test_one_file_is_no_image() -> None:
    pinned = await PinnedObject.open(MemoryStore({"zarr.json": b"{}"}), "zarr.json")
    with pytest.raises(UnsupportedFormat, match="folder"):
        await NgffFormat().open(pinned)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, child in children for path in _paths(child, (*at, key)))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = json.loads(json.dumps(value))
    target = copied
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = new
    return copied


SHARDED = sharded(codecs=["bytes", {"name": "zstd", "configuration": {}}])
OMERO = {"omero": {"channels": [{"label": "a", "color": "FF0000", "window": {"start": 0}}]}}


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
async def test_any_value_anywhere_in_the_metadata(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from([2, 3]))
    ome: Any = attributes("yx", ["0"], **OMERO)
    array: Any = array_v2(compressor={"id": "zlib"}, filters=[{"id": "shuffle", "elementsize": 2}])
    if version == 3:
        array = data.draw(st.sampled_from([SHARDED, array_v3()]))
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            ome = _replaced(ome, data.draw(st.sampled_from(_paths(ome))), data.draw(JSON))
        else:
            array = _replaced(array, data.draw(st.sampled_from(_paths(array))), data.draw(JSON))
    name = "0.0" if version == 2 else "c/0/0"
    try:
        await use(image(array, version, ome, {name: data.draw(st.binary(max_size=300))}))
    except MicrotomeError as refused:
        assert len(refused.message) > 15
