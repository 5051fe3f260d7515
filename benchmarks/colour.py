"""Colour profiles: what converting a tile costs, and how far the answer is from that of LittleCMS."""

from __future__ import annotations

import io
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from benchmarks.workloads import Bench, Row
from microtome.pixels.color import IccTransform, Intent

SLIDE = "svs-ycbcr.svs"
PROFILES = Path(os.environ.get("MICROTOME_TESTDATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "icc"
TILES = 150
INTENTS: dict[Intent, ImageCms.Intent] = {
    "perceptual": ImageCms.Intent.PERCEPTUAL,
    "relative": ImageCms.Intent.RELATIVE_COLORIMETRIC,
    "saturation": ImageCms.Intent.SATURATION,
    "absolute": ImageCms.Intent.ABSOLUTE_COLORIMETRIC,
}
Tile = NDArray[np.uint8]


def colour(bench: Bench) -> None:
    """Tiles of 256 px to sRGB through every RGB profile and intent."""
    profiles = list(rgb_profiles())
    if not profiles:
        bench.add_missing("ICC to sRGB", "no profiles: set MICROTOME_TESTDATA to the folder that holds icc/")
        return
    arrays = list(slide_tiles(bench.slides / SLIDE))
    fresh: list[float] = []
    again: list[float] = []
    peer: list[float] = []
    farthest = 0
    for number, (profile, (intent, by_number)) in enumerate(product(profiles, INTENTS.items())):
        ours, theirs = IccTransform.to_srgb(profile, intent), littlecms(profile, by_number)
        for tile in arrays[number % 25 :: 25]:
            farthest = max(farthest, int(np.abs(ours.apply(tile).astype(int) - theirs(tile)).max()))
        if number % len(profiles) == 0:
            ours = IccTransform.to_srgb(profile, intent)
            fresh += timed(ours.apply, arrays)
            again += timed(ours.apply, arrays)
            peer += timed(theirs, arrays)
    table = {
        "microtome, first sight": {"cpu_us": statistics.median(fresh)},
        "microtome, colours seen before": {"cpu_us": statistics.median(again)},
        "LittleCMS through Pillow": {"cpu_us": statistics.median(peer)},
    }
    cpu = table["microtome, first sight"]["cpu_us"]
    bench.add(
        Row(
            "ICC to sRGB, tile of 256 px",
            "under 1 ms, within 1 grey level of LittleCMS for all four intents",
            table,
            cpu < 1000 and farthest <= 1,
            f"{cpu:.0f} us CPU, {table['microtome, colours seen before']['cpu_us']:.0f} us for colours seen before;"
            f" {farthest} grey levels from LittleCMS over {len(profiles)} profiles x {len(INTENTS)} intents",
        )
    )


def rgb_profiles() -> Iterator[bytes]:
    for path in sorted(PROFILES.rglob("*.ic[cm]")):
        data = path.read_bytes()
        if data[16:20] == b"RGB " and data[12:16] in {b"mntr", b"scnr", b"spac"}:
            yield data


def slide_tiles(path: Path) -> Iterator[Tile]:
    """Distinct tiles from all over a slide."""
    import tiffslide

    place = random.Random(5)
    with tiffslide.TiffSlide(path) as slide:
        columns, rows = (side // 256 for side in slide.dimensions)
        for number in place.sample(range(columns * rows), TILES):
            corner = 256 * (number % columns), 256 * (number // columns)
            yield np.asarray(slide.read_region(corner, 0, (256, 256), as_array=True), np.uint8)


def littlecms(profile: bytes, intent: ImageCms.Intent) -> Callable[[Tile], Tile]:
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    transform = ImageCms.buildTransform(opened, srgb, "RGB", "RGB", renderingIntent=intent)
    return lambda tile: np.asarray(transform.apply(Image.fromarray(tile)))


def timed(convert: Callable[[Tile], Tile], arrays: list[Tile]) -> list[float]:
    """CPU time of each conversion, in us."""
    spent: list[float] = []
    for tile in arrays:
        begin = time.thread_time()
        convert(tile)
        spent.append((time.thread_time() - begin) * 1e6)
    return spent
