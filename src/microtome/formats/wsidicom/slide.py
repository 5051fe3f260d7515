"""An open DICOM slide: the instances of one image series as a pyramid."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from microtome.caching import Flights
from microtome.errors import Conflict, CorruptData, InvalidRequest, LimitExceeded, NotFound, UnsupportedFormat
from microtome.formats.threads import check_planes
from microtome.formats.wsidicom import frames, optical
from microtome.formats.wsidicom.blocking import called, guarded
from microtome.formats.wsidicom.instances import Instance, Tiling, read_instance
from microtome.model import AssociatedImage, Channel, EncodedTile, Level, Raster, Size, SlideInfo, TileIndex, of_level
from microtome.pixels.codecs import MAX_PIXELS
from microtome.storage.folder import PinnedFolder
from microtome.storage.pinned import PinnedObject

MAX_INSTANCES = 2000
_AT_ONCE = 8
_ASSOCIATED = {"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail"}


@dataclass(frozen=True, slots=True)
class _Layer:
    """A level, and the images it is made of: optical paths and focal planes may be instances of their own."""

    level: Level
    tilings: tuple[Tiling, ...]


class DicomSlide:
    """See ``formats.base.Slide``."""

    def __init__(self, instances: list[Instance], left_out: int, threads: ThreadPoolExecutor) -> None:
        """Called in a thread. Raises UnsupportedFormat, CorruptData, LimitExceeded."""
        self._threads = threads
        self._flights: Flights[Tiling, None] = Flights()
        base = max(instances, key=lambda each: (each.flavor == "VOLUME", each.image.width * each.image.height))
        mine = [each for each in instances if _belongs(each, base)]
        volume = [each for each in mine if each.flavor == base.flavor and _same_pixels(each, base)]
        self._layers = _layers(_tilings(volume), base.image)
        self._associated: dict[str, Tiling] = {}
        for tiling in _tilings([each for each in mine if each.flavor != base.flavor]):
            if (name := _ASSOCIATED.get(tiling.first.flavor)) is not None:
                self._associated.setdefault(name, tiling)
        self._base = base
        tilings = self._layers[0].tilings
        self._planes = tuple(sorted({plane for tiling in tilings for plane in tiling.planes}))
        self._paths = tuple(dict.fromkeys(name for tiling in tilings for name in tiling.identifiers))
        self._info = self._describe(left_out + len(instances) - len(mine))
        if base.tile.width * base.tile.height * len(self._paths) > MAX_PIXELS * 4:
            raise LimitExceeded("Tiles of so many channels are too large", limit="max_pixels", value=len(self._paths))
        self._names = tuple(channel.name for channel in self._info.channels)

    def _describe(self, left_out: int) -> SlideInfo:
        base = self._base
        items = {str(path.get("OpticalPathIdentifier") or ""): path for path in base.paths}
        for tiling in self._layers[0].tilings:
            for path in tiling.first.paths:
                items.setdefault(str(path.get("OpticalPathIdentifier") or ""), path)
        if base.samples == 3:
            channels: tuple[Channel, ...] = tuple(Channel(name) for name in ("R", "G", "B"))
        else:
            channels = tuple(optical.channel(items.get(path), path) for path in self._paths)
        properties = {
            f"dicom.{keyword}": text
            for keyword in ("ImageType", "StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription",
                            "ManufacturerModelName", "SoftwareVersions", "PhotometricInterpretation",
                            "DimensionOrganizationType")
            if (text := base.text(keyword))
        }  # fmt: skip
        properties["dicom.TransferSyntaxUID"] = base.syntax
        if left_out:
            properties["microtome.instances_left_out"] = str(left_out)
        return SlideInfo(
            format_name="DICOM WSI",
            levels=tuple(layer.level for layer in self._layers),
            channels=channels,
            dtype="uint8" if base.allocated == 8 else "uint16",
            spacing_um=_spacing_um(base),
            magnification=optical.objective_power(items.values()),
            focal_planes=len(self._planes),
            icc_profile=optical.profile(items.values()),
            associated=tuple(
                AssociatedImage(name, tiling.first.image) for name, tiling in sorted(self._associated.items())
            ),
            vendor=base.text("Manufacturer").lower() or None,
            properties=MappingProxyType(properties),
        )

    async def info(self) -> SlideInfo:
        """See ``formats.base.Slide``."""
        return self._info

    async def level(self, number: int) -> Level:
        """See ``formats.base.Slide``."""
        return self._layer(number).level

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """JPEG and JPEG 2000 frames as stored, others, and tiles of several channels, as samples."""
        layer = self._layer(index.level)
        layer.level.check_tile(index)
        check_planes(self._info, index)
        for tiling in layer.tilings:
            await self._loaded(tiling)
        paths = self._paths[:1] if self._base.samples == 3 else self._paths
        places = [self._place(layer, index, path) for path in paths]
        first = layer.tilings[0].first
        if not any(places):
            return frames.blank(first, self._names)
        data = await asyncio.gather(*(_read(place) for place in places))
        if len(paths) == 1 and places[0] is not None:
            return await self._tile(places[0][0], data[0])
        return await asyncio.to_thread(self._stack, first, places, data)

    def peek_tile(self, index: TileIndex) -> EncodedTile | None:
        """The stored JPEG frame if its bytes are in reach without waiting."""
        if not 0 <= index.level < len(self._layers) or index.t or not 0 <= index.z < len(self._planes):
            return None
        layer = self._layers[index.level]
        if (len(self._names), self._base.samples) not in {(3, 3), (1, 1)} or not layer.tilings[0].loaded:
            return None
        try:
            layer.level.check_tile(index)
            place = self._place(layer, index, self._paths[0])
            if place is None or not frames.is_stored_jpeg(place[0]):
                return None
            data = place[0].files.peek(place[1], place[2])
            if data is None or len(data) != place[2] - place[1]:
                return None
            found = frames.tile(place[0], data, self._names[0])
        except (InvalidRequest, CorruptData):
            return None  # whoever reads the tile is told
        return found if isinstance(found, EncodedTile) else None

    def prefetch(self, indices: Sequence[TileIndex]) -> None:
        """Begin to read the frames of tiles whose place is known."""
        for index in indices:
            if not 0 <= index.level < len(self._layers):
                continue
            layer = self._layers[index.level]
            if not (0 <= index.column < layer.level.columns and 0 <= index.row < layer.level.rows):
                continue
            if not 0 <= index.z < len(self._planes) or not all(tiling.loaded for tiling in layer.tilings):
                continue
            try:
                places = [self._place(layer, index, path) for path in self._paths]
            except CorruptData:
                continue
            for place in places:
                if place is not None:
                    place[0].files.prefetch([(place[1], place[2])])

    async def read_associated(self, name: str) -> EncodedTile | Raster:
        """Label, macro (the overview) or thumbnail."""
        tiling = self._associated.get(name)
        if tiling is None:
            raise NotFound("associated image", name)
        await self._loaded(tiling)
        first = tiling.first
        level = Level(first.image, first.tile, 1.0)
        if level.columns * level.rows == 1 and first.image == first.tile:
            place = tiling.find(0, 0, tiling.planes[0], tiling.identifiers[0])
            return await self._tile(first, await _read(place)) if place else frames.blank(first, _names(first))
        if first.image.width * first.image.height > MAX_PIXELS:
            raise LimitExceeded("The picture beside the slide is too large to be shown", limit="max_pixels")
        shape = (level.rows * first.tile.height, level.columns * first.tile.width, 1)
        whole = np.tile(frames.blank(first, _names(first)).array[:1, :1], shape)
        for row in range(level.rows):
            for column in range(level.columns):
                place = tiling.find(column, row, tiling.planes[0], tiling.identifiers[0])
                if place is not None:
                    data = await _read(place)
                    samples = await asyncio.to_thread(guarded, lambda i=place[0], d=data: frames.samples(i, d))
                    y, x = row * first.tile.height, column * first.tile.width
                    whole[y : y + first.tile.height, x : x + first.tile.width] = samples
        return Raster(whole[: first.image.height, : first.image.width], _names(first))

    async def close(self) -> None:
        """Wait for headers that are being read."""
        await asyncio.get_running_loop().run_in_executor(
            None, lambda: self._threads.shutdown(wait=True, cancel_futures=True)
        )

    def _layer(self, number: int) -> _Layer:
        return of_level(self._layers, number)

    async def _loaded(self, tiling: Tiling) -> None:
        if tiling.loaded:
            return
        try:
            await self._flights.run(tiling, lambda: called(self._threads, tiling.load))
        except RuntimeError as error:  # the threads are gone
            raise Conflict("The slide was closed; ask again") from error

    def _place(self, layer: _Layer, index: TileIndex, path: str) -> tuple[Instance, int, int] | None:
        """Coarse levels may have fewer focal planes; the nearest one stands in."""
        wanted = self._planes[index.z]
        for tiling in layer.tilings:
            if path in tiling.identifiers:
                nearest = min((abs(plane - wanted), plane) for other in layer.tilings for plane in other.planes)[1]
                if nearest in tiling.planes:
                    found = tiling.find(index.column, index.row, nearest, path)
                    if found is not None:
                        return found
        return None

    async def _tile(self, instance: Instance, data: bytes) -> EncodedTile | Raster:
        name = self._names[0] if len(self._names) == 1 else "gray"
        if frames.is_stored_jpeg(instance):
            return frames.tile(instance, data, name)
        return await asyncio.to_thread(guarded, lambda: frames.tile(instance, data, name))

    def _stack(
        self, first: Instance, places: Sequence[tuple[Instance, int, int] | None], data: Sequence[bytes]
    ) -> Raster:
        stack = frames.blank(first, self._names).array.copy()
        for number, (place, encoded) in enumerate(zip(places, data, strict=True)):
            if place is not None:
                instance = place[0]
                stack[:, :, number] = guarded(lambda i=instance, d=encoded: frames.samples(i, d))[:, :, 0]
        return Raster(stack, self._names)


async def open_folder(folder: PinnedFolder, names: Sequence[str]) -> DicomSlide:
    """The slide of some objects of a folder."""
    if len(names) > MAX_INSTANCES:
        raise LimitExceeded(
            f"The folder holds {len(names)} DICOM objects, more than the {MAX_INSTANCES} a slide may have",
            limit="instances",
            value=len(names),
        )
    several = asyncio.Semaphore(_AT_ONCE)

    async def opened(name: str) -> PinnedObject:
        async with several:
            return await folder.object(name)

    return await open_objects(await asyncio.gather(*(opened(name) for name in names)))


async def open_objects(objects: Sequence[PinnedObject]) -> DicomSlide:
    """The slide of some objects. What is no whole slide image is left out when there is one beside it."""
    threads = ThreadPoolExecutor(1, thread_name_prefix="dicom")
    loop = asyncio.get_running_loop()
    instances: list[Instance] = []
    failures: list[UnsupportedFormat | CorruptData] = []
    try:
        for files in objects:
            try:
                instances.append(await called(threads, lambda files=files: read_instance(files, loop)))
            except (UnsupportedFormat, CorruptData) as error:
                failures.append(error)
            files.settle()
        unique = list({instance.uid: instance for instance in reversed(instances)}.values())[::-1]
        if not unique:
            raise failures[0] if failures else UnsupportedFormat("The folder holds no DICOM object", feature="folder")
        return await called(threads, lambda: DicomSlide(unique, len(objects) - len(unique), threads))
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        raise


def _belongs(instance: Instance, base: Instance) -> bool:
    """Whether an instance is of the slide of another one: the same series, or for pictures of it the same place."""
    if instance.text("StudyInstanceUID") != base.text("StudyInstanceUID"):
        return False
    if instance.text("SeriesInstanceUID") == base.text("SeriesInstanceUID"):
        pyramids = instance.text("PyramidUID"), base.text("PyramidUID")
        return instance.flavor != base.flavor or not all(pyramids) or pyramids[0] == pyramids[1]
    frame = instance.text("FrameOfReferenceUID")
    return instance.flavor in _ASSOCIATED and frame != "" and frame == base.text("FrameOfReferenceUID")


def _same_pixels(instance: Instance, base: Instance) -> bool:
    return (instance.samples, instance.allocated) == (base.samples, base.allocated)


def _tilings(instances: Sequence[Instance]) -> list[Tiling]:
    """Concatenations put together; images with extended depth of field stand behind plain ones."""
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(instance.identifier, []).append(instance)
    found = [Tiling(parts) for parts in groups.values()]
    return sorted(found, key=lambda tiling: tiling.first.text("ExtendedDepthOfField") == "YES")


def _layers(tilings: Sequence[Tiling], base: Size) -> list[_Layer]:
    groups: dict[Size, list[Tiling]] = {}
    for tiling in tilings:
        groups.setdefault(tiling.first.image, []).append(tiling)
    layers: list[_Layer] = []
    for size, group in sorted(groups.items(), key=lambda item: -item[0].width * item[0].height):
        tile = group[0].first.tile
        downsample = (base.width / size.width + base.height / size.height) / 2
        alike = tuple(tiling for tiling in group if tiling.first.tile == tile)
        layers.append(_Layer(Level(size, tile, 1.0 if size == base else downsample), alike))
    return layers


def _spacing_um(instance: Instance) -> tuple[float, float] | None:
    """Pixel Spacing (row, column) of the shared Pixel Measures, else the imaged volume over its pixels."""
    spacing = instance.reader.dataset.pixel_spacing
    if spacing is not None and 0 < float(spacing.width) < 10 and 0 < float(spacing.height) < 10:
        return 1000 * float(spacing.width), 1000 * float(spacing.height)
    return None


def _names(instance: Instance) -> tuple[str, ...]:
    return ("R", "G", "B") if instance.samples == 3 else ("gray",)


async def _read(place: tuple[Instance, int, int] | None) -> bytes:
    if place is None:
        return b""
    instance, start, stop = place
    data = await instance.files.read(start, stop)
    if len(data) != stop - start:
        raise CorruptData("A frame breaks off at the end of the file", offset=start)
    return data
