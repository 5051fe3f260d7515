"""What OME-XML (OME 2016-06 and before) says of images, channels and the directories their planes are in.

Pure. Elements are read one by one, nothing but what is needed is kept, and no entity is ever expanded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from microtome.errors import CorruptData, LimitExceeded
from microtome.formats.tifffile.stack import MAX_CHANNELS, MAX_PLANES

MAX_XML_BYTES = 32 << 20
_MAX_IMAGES = 1000
_MAX_DEPTH = 100
_UNITS_UM = {
    "Ym": 1e30, "Zm": 1e27, "Em": 1e24, "Pm": 1e21, "Tm": 1e18, "Gm": 1e15, "Mm": 1e12, "km": 1e9, "hm": 1e8,
    "dam": 1e7, "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "nm": 1e-3, "pm": 1e-6, "fm": 1e-9, "am": 1e-12,
    "zm": 1e-15, "ym": 1e-18, "Å": 1e-4, "thou": 25.4, "li": 25_400 / 12, "in": 25_400.0, "ft": 304_800.0,
    "yd": 914_400.0, "mi": 1.609344e9, "pt": 25_400 / 72, "ua": 1.495978707e17, "ly": 9.4607304725808e21,
    "pc": 3.0856775814913674e22,
    # The Greek letter in place of the sign, the sign for ångström, and what writers without either do.
    "μm": 1.0, "um": 1.0, "\N{ANGSTROM SIGN}": 1e-4,
}  # fmt: skip
"""µm of the units of length (OME UnitsLength). ``pixel`` and ``reference frame`` are no lengths."""


@dataclass(slots=True)
class TiffData:
    """Where planes are: from ``ifd`` on of ``file``, beginning with plane (``c``, ``z``, ``t``); counts may be None."""

    ifd: int | None
    c: int
    z: int
    t: int
    count: int | None
    file: str | None = None
    uuid: str = ""


@dataclass(slots=True)
class OmeChannel:
    """``color`` is 0xRRGGBB; ``samples`` is None when the file does not say."""

    name: str
    color: int | None
    samples: int | None


@dataclass(slots=True)
class OmeImage:
    """One Image with its Pixels. ``order`` are the letters of the axes behind XY, the quickest first."""

    name: str
    width: int = 0
    height: int = 0
    c: int = 1
    z: int = 1
    t: int = 1
    order: str = "CZT"
    kind: str = ""
    spacing_um: tuple[float, float] | None = None
    objective: str = ""
    channels: list[OmeChannel] = field(default_factory=list[OmeChannel])
    data: list[TiffData] = field(default_factory=list[TiffData])
    properties: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def shape(self) -> tuple[int, int, int, str]:
        """What the levels of one pyramid have in common."""
        return self.c, self.z, self.t, self.kind


@dataclass(slots=True)
class Ome:
    """A whole document. ``metadata_file`` is where the metadata really are (BinaryOnly)."""

    uuid: str = ""
    metadata_file: str | None = None
    creator: str = ""
    images: list[OmeImage] = field(default_factory=list[OmeImage])
    magnifications: dict[str, float] = field(default_factory=dict[str, float])


def parse(text: str) -> Ome:
    """Read a document. Raises CorruptData, LimitExceeded."""
    data = text.encode("utf-8", "replace")
    if len(data) > MAX_XML_BYTES:
        raise LimitExceeded(f"The OME-XML is larger than {MAX_XML_BYTES >> 20} MB", limit="metadata bytes")
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        parser.Parse(data, True)  # noqa: FBT003 - "this is the end", and expat knows no keyword
    except expat.ExpatError as error:
        raise CorruptData(f"The OME-XML of the file is broken: {str(error)[:100]}") from error
    return reader.ome


def _refuse(*_: object) -> None:
    raise CorruptData("The OME-XML of the file declares a document type, which none of its kind needs")


class _Reader:
    """Collects what is needed while expat walks through the document."""

    def __init__(self) -> None:
        self.ome = Ome()
        self._path: list[str] = []
        self._planes = 0
        self._begin: dict[str, Callable[[dict[str, str]], None]] = {
            "OME": self._ome, "BinaryOnly": self._binary_only, "Objective": self._objective, "Image": self._image,
            "Pixels": self._pixels, "Channel": self._channel, "TiffData": self._tiff_data, "UUID": self._file,
            "ObjectiveSettings": self._settings,
        }  # fmt: skip

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        if len(self._path) >= _MAX_DEPTH:
            raise CorruptData("The OME-XML of the file is nested too deeply")
        if name in self._begin and "StructuredAnnotations" not in self._path:
            self._begin[name](attributes)
        self._path.append(name)

    def end(self, tag: str) -> None:
        self._path.pop()

    def characters(self, text: str) -> None:
        if self._path[-1:] == ["UUID"] and self._within("TiffData") and self.ome.images[-1].data:
            last = self.ome.images[-1].data[-1]
            last.uuid = (last.uuid + text)[:200]

    def _within(self, parent: str) -> bool:
        return parent in self._path and bool(self.ome.images)

    def _ome(self, attributes: dict[str, str]) -> None:
        self.ome.uuid = attributes.get("UUID", "")
        self.ome.creator = attributes.get("Creator", "")[:200]

    def _binary_only(self, attributes: dict[str, str]) -> None:
        self.ome.metadata_file = attributes.get("MetadataFile", "")

    def _objective(self, attributes: dict[str, str]) -> None:
        power = real(attributes.get("NominalMagnification") or attributes.get("CalibratedMagnification"))
        if power and len(self.ome.magnifications) < _MAX_IMAGES:
            self.ome.magnifications[attributes.get("ID", "")] = power

    def _image(self, attributes: dict[str, str]) -> None:
        if len(self.ome.images) >= _MAX_IMAGES:
            raise LimitExceeded(f"The file holds more than {_MAX_IMAGES} images", limit="images")
        self.ome.images.append(OmeImage(attributes.get("Name", "")[:200]))

    def _settings(self, attributes: dict[str, str]) -> None:
        if self._within("Image"):
            self.ome.images[-1].objective = attributes.get("ID", "")

    def _pixels(self, attributes: dict[str, str]) -> None:
        if not self._within("Image") or self.ome.images[-1].width:
            return
        image = self.ome.images[-1]
        image.width, image.height, image.c, image.z, image.t = (
            _whole(attributes.get(f"Size{axis}"), 1, 1 << 31, f"Size{axis}") for axis in "XYCZT"
        )
        order = attributes.get("DimensionOrder", "XYCZT")[2:]
        image.order = order if sorted(order) == ["C", "T", "Z"] else "CZT"
        image.kind = attributes.get("Type") or attributes.get("PixelType", "")
        sizes = [_length(attributes, axis) for axis in "XY"]
        image.spacing_um = (sizes[0], sizes[1]) if sizes[0] and sizes[1] else None
        for name, value in list(attributes.items())[:50]:
            if name.startswith(("PhysicalSizeZ", "TimeIncrement", "SignificantBits", "Type", "DimensionOrder")):
                image.properties[f"ome.{name}"] = value[:200]

    def _channel(self, attributes: dict[str, str]) -> None:
        if not self._within("Pixels"):
            return
        channels = self.ome.images[-1].channels
        if len(channels) >= MAX_CHANNELS:
            raise LimitExceeded(f"The file has more than {MAX_CHANNELS} channels", limit="channels")
        samples = attributes.get("SamplesPerPixel")
        channels.append(
            OmeChannel(
                attributes.get("Name", "")[:200],
                color(attributes.get("Color")),
                None if samples is None else _whole(samples, 1, MAX_CHANNELS, "SamplesPerPixel"),
            )
        )

    def _tiff_data(self, attributes: dict[str, str]) -> None:
        if not self._within("Pixels"):
            return
        self._planes += 1
        if self._planes > MAX_PLANES:
            raise LimitExceeded(f"The file has more than {MAX_PLANES} planes", limit="planes")
        count = attributes.get("PlaneCount", attributes.get("NumPlanes"))
        ifd = attributes.get("IFD")
        self.ome.images[-1].data.append(
            TiffData(
                None if ifd is None else _whole(ifd, 0, MAX_PLANES, "IFD"),
                *(_whole(attributes.get(f"First{axis}", "0"), 0, 1 << 31, f"First{axis}") for axis in "CZT"),
                count=None if count is None else _whole(count, 0, 1 << 31, "PlaneCount"),
            )
        )

    def _file(self, attributes: dict[str, str]) -> None:
        if self._within("TiffData") and self.ome.images[-1].data:
            self.ome.images[-1].data[-1].file = attributes.get("FileName")


def real(text: str | None) -> float | None:
    """A positive finite number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < 1e30 else None


def color(text: str | None) -> int | None:
    """0xRRGGBB of a Color, which is RGBA as a signed 32-bit number; None when there is none."""
    try:
        value = int(text or "")
    except ValueError:
        return None
    return (value & 0xFFFFFFFF) >> 8 if -(1 << 31) <= value < 1 << 32 else None


def length_um(value: float, unit: str) -> float | None:
    """A length in µm, None for a unit that is no length."""
    factor = _UNITS_UM.get(unit)
    return None if factor is None else value * factor


def _length(attributes: dict[str, str], axis: str) -> float | None:
    value = real(attributes.get(f"PhysicalSize{axis}"))
    return None if value is None else length_um(value, attributes.get(f"PhysicalSize{axis}Unit", "µm").strip())


def _whole(text: str | None, least: int, most: int, name: str) -> int:
    try:
        value = int(text or "")
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise CorruptData(f"{name} in the OME-XML of the file is {str(text)[:30]}, not {least} to {most}")
    return value


def linear(order: str, lengths: dict[str, int], at: dict[str, int]) -> int | None:
    """The number of a plane in the order of the file, None for one outside of the image."""
    number, stride = 0, 1
    for axis in order:
        if at[axis] >= lengths[axis]:
            return None
        number += at[axis] * stride
        stride *= lengths[axis]
    return number


def position(order: str, lengths: dict[str, int], number: int) -> dict[str, Any]:
    """The opposite of ``linear``."""
    found: dict[str, int] = {}
    for axis in order:
        number, found[axis] = divmod(number, lengths[axis])
    return found
