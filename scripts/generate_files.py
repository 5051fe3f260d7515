"""Write docs/reference/files.md: what becomes of every real file. Needs the folder that MICROTOME_TESTDATA names.

python -m scripts.generate_files FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from microtome.app import Services, build_services
from microtome.catalog.kinds import SUFFIXES
from microtome.errors import MicrotomeError, NotFound, UnsupportedFormat
from microtome.formats.base import Slide
from microtome.model import EncodedTile, Level, SlideInfo, TileIndex
from microtome.pixels import codecs
from microtome.settings import Settings
from microtome.tiles.pool import OpenSlide

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "files.md"
MARK = "<!-- From here on written by scripts/generate_files.py: change the code and run it again. -->\n"
FOLDERS = ("svs", "vendor", "tiff", "dicom/wsi", "dicom/wsi-fluo", "vector", "synthetic")
SECONDS = 60.0
"""Longer than this no file may take."""


@dataclass(frozen=True)
class Found:
    """What became of a file or folder. ``info`` is None when it was refused; ``remark`` says why, or what is wrong.

    ``is_slide`` is False for what no format claims and no slide is called like.
    """

    key: str
    format: str = ""
    info: SlideInfo | None = None
    remark: str = ""
    is_slide: bool = True


def keys(folder: Path) -> list[str]:
    """The files below the folders of the page, sorted, and the folders among them that are slides, with a ``/``."""
    files = [path for name in FOLDERS for path in (folder / name).rglob("*") if path.is_file()]
    return sorted(path.relative_to(folder).as_posix() for path in files)


async def look(folder: Path) -> list[Found]:
    """Open every file, and every folder that is listed as one slide; read tiles of all levels and planes.

    Raises what is no MicrotomeError, and TimeoutError: neither may happen.
    """
    services = build_services(Settings(dicomweb=False, data=str(folder), slide_idle=0.0))
    await services.formats.start()
    try:
        names = set(keys(folder))
        for each in FOLDERS:
            names |= {f"{key}/" for key in await _listed(services, f"{each}/") if key not in names}
            # A folder of the page may be one slide itself.
            names |= {f"{each}/" for key in await _listed(services, each) if key == each}
        return [await _looked_at(services, key) for key in sorted(names, key=_place)]
    finally:
        await services.tiles.close()
        await services.formats.stop()
        services.copies.close()
        await services.store.close()


async def _listed(services: Services, prefix: str) -> list[str]:
    found, cursor = list[str](), None
    while True:
        page = await services.catalog.list(limit=1000, cursor=cursor, prefix=prefix)
        found += [record.key for record in page.slides]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def _looked_at(services: Services, key: str) -> Found:
    async def work(entry: OpenSlide) -> Found:
        info = await entry.slide.info()
        return Found(key, entry.format, info, await _trouble(entry.slide, info))

    try:
        async with asyncio.timeout(SECONDS):
            return await services.tiles.pool.run(services.catalog.resolve(key.removesuffix("/")), work)
    except UnsupportedFormat as error:
        unknown = error.feature == "file signature" and not key.lower().endswith(SUFFIXES)
        return Found(key, remark="" if unknown else error.message, is_slide=not unknown)
    except MicrotomeError as error:
        return Found(key, remark=error.message)
    finally:
        services.tiles.pool.close_idle()


async def _trouble(slide: Slide, info: SlideInfo) -> str:
    """What went wrong with tiles or pictures, "" for nothing."""
    trouble: list[str] = []
    tried = 0
    for index in _some_tiles(info):
        tried += 1
        try:
            tile = await slide.read_tile(index)
            if isinstance(tile, EncodedTile) and info.channels:
                await asyncio.to_thread(codecs.decode, tile)
        except NotFound:
            continue  # there is no such vector tile
        except MicrotomeError as error:
            trouble.append(error.message)
    for image in info.associated:
        try:
            picture = await slide.read_associated(image.name)
            if isinstance(picture, EncodedTile):
                await asyncio.to_thread(codecs.decode, picture)
        except MicrotomeError as error:
            return f"{image.name}: {error.message}"
    return f"{len(trouble)} of {tried} tiles tried: {trouble[0]}" if trouble else ""


def _some_tiles(info: SlideInfo) -> Iterator[TileIndex]:
    def corners(level: Level) -> set[tuple[int, int]]:
        return {(0, 0), (level.columns // 2, level.rows // 2), (level.columns - 1, level.rows - 1)}

    for number, level in enumerate(info.levels):
        for column, row in sorted(corners(level)):
            yield TileIndex(number, column, row)
    for z, t in {(info.focal_planes - 1, 0), (0, info.time_points - 1)} - {(0, 0)}:
        yield TileIndex(0, 0, 0, z, t)


def page(found: list[Found]) -> str:
    """The part of the page behind the mark."""
    opened = [each for each in found if each.info is not None]
    refused = [each for each in found if each.info is None and each.is_slide]
    formats = sorted({each.format for each in opened})
    lines = [
        f"{len(opened)} open, {len(refused)} are refused with a reason,"
        f" {len(found) - len(opened) - len(refused)} are no slides. They are read by"
        f" {', '.join(f'`{name}`' for name in formats)}."
    ]
    for name, group in groupby(found, lambda each: _place(each.key)[0]):
        lines += [
            "",
            f"## {name}",
            "",
            "| File | Format | Size in px | Levels | Channels | z | t | Remark |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_row(each) for each in group]
    return "\n".join([*lines, ""])


def _place(key: str) -> tuple[str, str]:
    """The folder that holds it, and its name, with a ``/`` behind that of a folder."""
    folder, _, name = key.removesuffix("/").rpartition("/")
    return folder, name + key[len(folder) + bool(folder) + len(name) :]


def _row(found: Found) -> str:
    name = _place(found.key)[1]
    if not found.is_slide:
        cells = ["no slide", *[""] * 6]
    elif found.info is None:
        cells = ["refused", *[""] * 5, found.remark]
    else:
        info = found.info
        size = f"{info.size.width} x {info.size.height}"
        counts = len(info.levels), len(info.channels), info.focal_planes, info.time_points
        cells = [f"`{found.format}` {info.format_name}", size, *map(str, counts), found.remark]
    return "| " + " | ".join([f"`{name}`", *(cell.replace("|", "\\|") for cell in cells)]) + " |"


def updated(found: list[Found]) -> str:
    """The page as it should be: its beginning is written by hand."""
    beginning, mark, _ = PAGE.read_text("utf-8").partition(MARK)
    return f"{beginning}{mark}\n{page(found)}"


if __name__ == "__main__":
    PAGE.write_text(updated(asyncio.run(look(Path(sys.argv[1])))), "utf-8")
