"""Ordinary pictures as slides: pixels as Pillow shows them, limits before memory, facts only where they are sane."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from microtome.errors import Conflict, CorruptData, LimitExceeded, NotFound, UnsupportedFormat
from microtome.formats.pillow import PillowFormat, kind
from microtome.formats.pillow.decoded import DecodedPictures, halved
from microtome.formats.threads import ThreadedSlide
from microtome.model import EncodedTile, Raster, TileIndex
from microtome.pixels import codecs
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject
from tests import conftest

Samples = NDArray[Any]
MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


def _real_pictures() -> list[str]:
    root = conftest.testdata_folder()
    found = sorted(root.rglob("*")) if root else []
    return [str(path.relative_to(root)) for path in found if path.suffix.lower() in {".jpg", ".jpeg", ".png"}]  # type: ignore[arg-type]


def noise(width: int, height: int, channels: int = 3, dtype: type = np.uint8) -> Samples:
    top = np.iinfo(dtype).max
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(width * height).integers(0, top, shape, dtype, endpoint=True)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(mode: str, width: int = 300, height: int = 200) -> Image.Image:
    """Noise; with alpha where the mode has it."""
    image = Image.fromarray(noise(width, height, 4))
    return image.convert("RGB").quantize(200) if mode == "P" else image.convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """One more chunk behind IHDR."""
    return png[:33] + chunk(kind, data) + png[33:]


def over_white(data: bytes, mode: str) -> Samples:
    """What Pillow shows: turned, over white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert image is not None
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    array = np.asarray(image.convert(mode))
    return array if array.ndim == 3 else array[:, :, np.newaxis]


async def opened(data: bytes, name: str = "picture", **options: Any) -> ThreadedSlide:
    store = MemoryStore({name: data})
    return await PillowFormat(**options).open(await PinnedObject.open(store, name))


async def whole(slide: ThreadedSlide, number: int = 0) -> Samples:
    """A level, put together from its tiles."""
    level = (await slide.info()).levels[number]
    rows: list[Samples] = []
    for row in range(level.rows):
        line: list[Samples] = []
        for column in range(level.columns):
            tile = await slide.read_tile(TileIndex(number, column, row))
            raster = codecs.decode(tile) if isinstance(tile, EncodedTile) else tile
            line.append(raster.array)
        rows.append(np.concatenate(line, axis=1))
    found = np.concatenate(rows)
    assert (found.shape[1], found.shape[0]) == level.size
    return found


class TestPixels:
    @pytest.mark.parametrize("mode", MODES)
    async def test_png_of_every_mode(self, mode: str) -> None:
        data = saved(picture(mode), "PNG")
        slide = await opened(data)
        info = await slide.info()
        gray = mode in {"1", "L", "LA"}
        assert [channel.name for channel in info.channels] == (["gray"] if gray else ["R", "G", "B"])
        found = await whole(slide)
        # Two ways to round what shines through.
        assert np.abs(found.astype(int) - over_white(data, "L" if gray else "RGB")).max() <= (1 if "A" in mode else 0)
        await slide.close()

    @pytest.mark.parametrize(
        ("kind", "mode", "options"),
        [
            ("JPEG", "RGB", {"progressive": True}), ("JPEG", "L", {"progressive": True}), ("JPEG", "CMYK", {}),
            ("BMP", "RGB", {}), ("BMP", "L", {}), ("BMP", "1", {}), ("BMP", "P", {}), ("GIF", "P", {}),
            ("WEBP", "RGB", {"lossless": True}), ("WEBP", "RGBA", {"lossless": True}), ("WEBP", "RGB", {}),
        ],
    )  # fmt: skip
    async def test_other_formats(self, kind: str, mode: str, options: dict[str, Any]) -> None:
        data = saved(picture(mode), kind, **options)
        slide = await opened(data)
        wanted = over_white(data, "L" if mode in {"L", "1"} else "RGB")
        assert np.abs((await whole(slide)).astype(int) - wanted).max() <= (1 if mode == "RGBA" else 0)
        assert (await slide.info()).format_name == f"{kind} picture"
        await slide.close()

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    async def test_png_of_16_bit_keeps_its_depth(self, channels: int) -> None:
        array = noise(70, 50, channels, np.uint16)
        slide = await opened(bytes(imagecodecs.png_encode(array)))
        assert (await slide.info()).dtype == "uint16"
        found = await whole(slide)
        assert found.dtype == np.uint16
        if channels in {1, 3}:
            assert np.array_equal(found, array.reshape(50, 70, channels))
        else:
            alpha = array[:, :, -1:].astype(float) / 65535
            blended = array[:, :, :-1] * alpha + 65535 * (1 - alpha)
            assert np.abs(found - blended).max() <= 0.5 + 1e-6
        await slide.close()

    @pytest.mark.parametrize("transparent", [b"\0\x07", b"\0\x07\0\x08\0\x09"])
    async def test_the_transparent_colour_is_white(self, transparent: bytes) -> None:
        gray = len(transparent) == 2
        array = np.array([[7, 200], [9, 7]], np.uint8) if gray else np.array([[[7, 8, 9], [1, 2, 3]]], np.uint8)
        slide = await opened(with_chunk(saved(Image.fromarray(array), "PNG"), b"tRNS", transparent))
        found = await whole(slide)
        assert (found[0, 0] == 255).all()
        assert np.array_equal(found[0, 1], [200] if gray else [1, 2, 3])
        await slide.close()

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    async def test_turned_as_exif_says(self, kind: str, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"JPEG": {"progressive": True}, "PNG": {}, "WEBP": {"lossless": True}}[kind]
        data = saved(picture("RGB", 90, 40), kind, exif=exif, **options)
        slide = await opened(data)
        assert (await slide.info()).size == ((90, 40) if orientation < 5 else (40, 90))
        assert np.array_equal(await whole(slide), over_white(data, "RGB"))
        await slide.close()

    async def test_broken_exif_is_no_reason_to_refuse(self) -> None:
        data = saved(picture("RGB", 32, 32), "PNG")
        slide = await opened(with_chunk(data, b"eXIf", b"nonsense"))
        assert np.array_equal(await whole(slide), over_white(data, "RGB"))
        await slide.close()

    async def test_the_first_frame_of_an_animation(self) -> None:
        frames = [Image.new("RGB", (20, 10), color) for color in ("red", "green")]
        slide = await opened(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
        assert (await slide.info()).time_points == 1
        assert (await whole(slide) == (255, 0, 0)).all()
        await slide.close()

    @pytest.mark.parametrize("name", _real_pictures())
    async def test_real_pictures(self, testdata: Path, name: str) -> None:
        data = (testdata / name).read_bytes()
        try:
            Image.open(io.BytesIO(data)).close()
        except UnidentifiedImageError:
            with pytest.raises((UnsupportedFormat, CorruptData)):
                await opened(data, name)
            return
        slide = await opened(data, name)
        wanted = over_white(data, "L" if len((await slide.info()).channels) == 1 else "RGB")
        # A stored JPEG is decoded by another version of the same library.
        assert np.abs((await whole(slide)).astype(int) - wanted).mean() < 1
        await slide.close()


class TestTiles:
    async def test_a_small_picture_is_one_tile(self) -> None:
        slide = await opened(saved(picture("RGB", 512, 30), "PNG"))
        assert [level.tile_size for level in (await slide.info()).levels] == [(512, 30)]
        await slide.close()

    @pytest.mark.parametrize("size", [(513, 10), (1024, 700), (1025, 3), (2500, 1301)])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    async def test_a_large_one_is_a_pyramid(self, size: tuple[int, int], dtype: type) -> None:
        array = noise(*size, 3, dtype)
        slide = await opened(bytes(imagecodecs.png_encode(array)))
        levels = (await slide.info()).levels
        assert {level.tile_size for level in levels} == {(256, 256)}
        assert max(levels[-1].size) <= 1024
        assert all(max(level.size) > 1024 for level in levels[:-1])
        wanted = array
        for number, level in enumerate(levels):
            assert np.array_equal(await whole(slide, number), wanted)
            mean = (size[0] / level.size.width + size[1] / level.size.height) / 2
            assert level.downsample == pytest.approx(mean)
            wanted = halved(wanted)
        await slide.close()

    @settings(deadline=None, max_examples=40)
    @given(st.integers(1, 9), st.one_of(st.integers(1, 9), st.integers(1020, 1030)), st.sampled_from([1, 3]))
    def test_halving_is_pillows_box(self, width: int, height: int, channels: int) -> None:
        array = noise(width, height, channels).reshape(height, width, channels)
        wanted = np.asarray(Image.fromarray(array[:, :, 0] if channels == 1 else array).reduce(2))
        assert np.abs(halved(array).astype(int) - wanted.reshape(halved(array).shape)).max() <= 1
        wide = array.astype(np.uint16) * 257
        assert np.abs(halved(wide).astype(float) / 257 - halved(array).astype(float)).max() <= 1

    async def test_decoded_once_for_many_tiles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[int] = []
        real = np.asarray
        from microtome.formats.pillow import slide as module

        def counted(image: Any, *, gray: bool) -> Samples:
            calls.append(1)
            return real(image.convert("L" if gray else "RGB"))

        monkeypatch.setattr(module, "_eight_bits", counted)
        slide = await opened(saved(picture("RGB", 1100, 600), "PNG"))
        assert not calls, "facts need no pixels"
        level = (await slide.info()).levels[0]
        await asyncio.gather(
            *(
                slide.read_tile(TileIndex(0, column, row))
                for column in range(level.columns)
                for row in range(level.rows)
            )
        )
        assert calls == [1]
        await slide.close()


class TestStoredJpeg:
    @pytest.mark.parametrize("mode", ["RGB", "L"])
    async def test_a_plain_one_goes_out_as_it_is(self, mode: str) -> None:
        data = saved(picture(mode), "JPEG", quality=90)
        slide = await opened(data)
        tile = await slide.read_tile(TileIndex(0, 0, 0))
        assert isinstance(tile, EncodedTile)
        assert tile.data == data
        assert (tile.media_type, tile.size) == ("image/jpeg", (300, 200))
        assert np.array_equal(codecs.decode(tile).array, over_white(data, mode))
        await slide.close()

    @pytest.mark.parametrize(
        "data",
        [
            saved(picture("RGB"), "JPEG", progressive=True),
            saved(picture("CMYK"), "JPEG"),
            saved(picture("RGB", 513, 100), "JPEG"),
            saved(picture("RGB"), "JPEG", keep_rgb=True),
            saved(
                picture("RGB"), "JPEG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
            ),
        ],
        ids=["progressive", "CMYK", "large", "stored as RGB", "with a profile"],
    )
    async def test_others_are_decoded(self, data: bytes) -> None:
        slide = await opened(data)
        assert isinstance(await slide.read_tile(TileIndex(0, 0, 0)), Raster)
        assert np.array_equal(await whole(slide), over_white(data, "RGB"))
        await slide.close()

    @pytest.mark.parametrize("orientation", [2, 3, 6])
    async def test_one_that_is_to_be_turned_is_decoded(self, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = saved(picture("RGB", 90, 40), "JPEG", exif=exif)
        slide = await opened(data)
        assert np.array_equal(await whole(slide), over_white(data, "RGB"))
        await slide.close()

    async def test_what_is_behind_the_picture_is_cut_off(self) -> None:
        data = saved(picture("RGB"), "JPEG")
        slide = await opened(data + b"secret")
        tile = await slide.read_tile(TileIndex(0, 0, 0))
        assert isinstance(tile, EncodedTile)
        assert tile.data == data
        await slide.close()


class TestFacts:
    @pytest.mark.parametrize(
        ("kind", "options", "spacing"),
        [
            ("PNG", {"dpi": (25_400, 50_800)}, (1.0, 0.5)),
            ("PNG", {"dpi": (72, 72)}, None),
            ("PNG", {}, None),
            ("BMP", {"dpi": (25_400, 25_400)}, (1.0, 1.0)),
            ("JPEG", {"dpi": (25_400, 25_400)}, None),
        ],
    )
    async def test_spacing(self, kind: str, options: dict[str, Any], spacing: tuple[float, float] | None) -> None:
        slide = await opened(saved(picture("RGB", 20, 10), kind, **options))
        found = (await slide.info()).spacing_um
        assert found == (None if spacing is None else pytest.approx(spacing, rel=1e-4))
        await slide.close()

    async def test_a_jpeg_may_count_in_centimetres(self) -> None:
        data = bytearray(saved(picture("RGB", 20, 10), "JPEG"))
        at = data.index(b"JFIF\0") + 7
        data[at : at + 5] = struct.pack(">BHH", 2, 10_000, 20_000)
        slide = await opened(bytes(data))
        assert (await slide.info()).spacing_um == pytest.approx((1.0, 0.5), rel=1e-4)
        await slide.close()

    async def test_spacing_turns_with_the_picture(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        slide = await opened(saved(picture("RGB", 20, 10), "PNG", dpi=(25_400, 50_800), exif=exif))
        assert (await slide.info()).spacing_um == pytest.approx((0.5, 1.0), rel=1e-4)
        await slide.close()

    async def test_profile_of_the_pixels(self) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for mode, kept in (("RGB", True), ("L", False), ("CMYK", False)):
            slide = await opened(saved(picture(mode), "JPEG", icc_profile=profile))
            assert (await slide.info()).icc_profile == (profile if kept else None)
            await slide.close()

    async def test_no_pictures_beside_it(self) -> None:
        slide = await opened(saved(picture("L"), "PNG"))
        assert (await slide.info()).associated == ()
        with pytest.raises(NotFound):
            await slide.read_associated("label")
        await slide.close()


class TestLimits:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP"])
    async def test_too_many_pixels_are_refused_by_the_header(self, kind: str) -> None:
        data = saved(picture("RGB", 100, 100), kind)
        with pytest.raises(LimitExceeded) as failure:
            await opened(data, max_pixels=9999)
        assert failure.value.value == 10_000
        await (await opened(data, max_pixels=10_000)).close()

    async def test_a_bomb_is_never_decoded(self) -> None:
        """100,000 x 100,000 px claimed by a few bytes."""
        ihdr = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        with pytest.raises(LimitExceeded):
            await opened(data)

    async def test_between_pillows_own_limit_and_ours(self) -> None:
        """Pillow warns from 89 Mpx on, and warnings are errors here."""
        ihdr = struct.pack(">IIBBBBB", 10_000, 9_500, 1, 0, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        slide = await opened(data)
        assert (await slide.info()).size == (10_000, 9_500)
        await slide.close()

    async def test_deep_pictures_count_for_more(self) -> None:
        data = bytes(imagecodecs.png_encode(noise(100, 100, 3, np.uint16)))
        with pytest.raises(LimitExceeded):
            await opened(data, max_pixels=19_999)
        await (await opened(data, max_pixels=20_000)).close()

    async def test_decoded_pictures_stay_within_their_budget(self) -> None:
        one = saved(picture("RGB", 600, 600), "PNG")
        store = MemoryStore({str(n): one for n in range(4)})
        formats = PillowFormat(decoded_bytes=3 * 600 * 600 * 3)
        slides = [await formats.open(await PinnedObject.open(store, str(n))) for n in range(4)]
        for slide in (*slides, *slides):
            assert np.array_equal(await whole(slide), over_white(one, "RGB"))
        kept = formats._decoded  # pyright: ignore[reportPrivateUsage]
        assert kept is not None
        assert kept.used == 3 * 600 * 600 * 3
        for slide in slides:
            await slide.close()
        assert kept.used == 0

    def test_what_is_larger_than_the_budget_is_not_kept(self) -> None:
        decoded = DecodedPictures(10)
        decoded.get("a", lambda: (np.zeros((10, 10, 1), np.uint8),))
        assert decoded.used == 0


class TestBroken:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
    async def test_cut_short(self, kind: str) -> None:
        data = saved(picture("RGB"), kind, **({"progressive": True} if kind == "JPEG" else {}))
        with pytest.raises((CorruptData, UnsupportedFormat)):
            await whole(await opened(data[: len(data) // 2]))

    @pytest.mark.parametrize("head", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WEBP", b"GIF89a"])
    async def test_nothing_but_a_signature(self, head: bytes) -> None:
        assert PillowFormat().recognises(head, "a")
        with pytest.raises((CorruptData, UnsupportedFormat)):
            await whole(await opened(head + bytes(50)))

    async def test_asked_for_by_name(self) -> None:
        with pytest.raises(UnsupportedFormat):
            await opened(b"II*\0\x08\0\0\0")

    @settings(deadline=None, max_examples=150)
    @given(
        st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "WEBP"]),
        st.integers(0, 2000),
        st.binary(min_size=1, max_size=12),
        st.booleans(),
    )
    @pytest.mark.filterwarnings("ignore")
    def test_damage_is_answered_with_our_errors(self, kind: str, at: int, damage: bytes, cut: bool) -> None:
        data = bytearray(_SMALL[kind])
        at %= len(data)
        data[at : at + len(damage)] = damage
        if cut:
            del data[at:]

        async def reading() -> None:
            slide = await opened(bytes(data))
            try:
                await whole(slide)
            finally:
                await slide.close()

        with suppress(CorruptData, UnsupportedFormat, LimitExceeded):
            asyncio.run(reading())

    async def test_little_is_kept_as_header(self) -> None:
        """A WebP is read whole to be opened; only what recognises it stays."""
        for each in ("PNG", "JPEG", "WEBP"):
            store = MemoryStore({"a": saved(picture("RGB", 1000, 600), each, lossless=True)})
            files = await PinnedObject.open(store, "a")
            slide = await PillowFormat().open(files)
            await whole(slide)
            assert files.header().nbytes <= 64 << 10
            again = PinnedObject.replay(store, files.header())
            assert PillowFormat().recognises(again.head, "a")
            reopened = await PillowFormat().open(again)
            assert np.array_equal(await whole(reopened), await whole(slide))
            await slide.close()
            await reopened.close()

    async def test_replaced_while_it_is_open(self) -> None:
        store = MemoryStore({"a": saved(picture("RGB", 1000, 600), "PNG")})
        slide = await PillowFormat().open(await PinnedObject.open(store, "a"))
        store.put("a", saved(picture("L", 1000, 600), "PNG"))
        with pytest.raises(Conflict):
            await slide.read_tile(TileIndex(0, 0, 0))
        await slide.close()


_SMALL = {kind: saved(picture("RGB", 30, 20), kind) for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP")}


@pytest.mark.parametrize(
    ("head", "name", "found"),
    [
        (_SMALL["PNG"], "x", "PNG"),
        (_SMALL["JPEG"], "x", "JPEG"),
        (_SMALL["BMP"], "x", "BMP"),
        (_SMALL["GIF"], "x", "GIF"),
        (_SMALL["WEBP"], "x", "WEBP"),
        (_SMALL["JPEG"], "slide.MRXS", None),
        (b"BMW drives", "x", None),
        (b"RIFF\0\0\0\0WAVE", "x.webp", None),
        (b"II*\0", "x.png", None),
        (b"", "x.png", None),
    ],
)
def test_recognised_by_signature(head: bytes, name: str, found: str | None) -> None:
    assert kind(head, name) == found
    assert PillowFormat().recognises(head, name) == (found is not None)


@given(st.binary(max_size=40), st.text(max_size=10))
def test_nothing_makes_recognition_raise(head: bytes, name: str) -> None:
    PillowFormat().recognises(head, name)
