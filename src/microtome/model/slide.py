"""What is known about a slide. Every API's metadata is a view of ``SlideInfo``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from microtome.model.geometry import Level, Size


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel as the file names it; ``color`` is 0xRRGGBB or None when the file gives none.

    Colour images have the three channels R, G and B; fluorescence has one for each stain.
    """

    name: str
    color: int | None = None


@dataclass(frozen=True, slots=True)
class AssociatedImage:
    """A picture beside the pyramid: ``label``, ``macro``, ``thumbnail``. ``size`` in px."""

    name: str
    size: Size


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """The facts of one slide.

    ``levels`` are sorted from full resolution down. ``spacing_um`` is (x, y) µm per level-0 px, None when unknown.
    ``magnification`` is the objective power. ``dtype`` is the numpy name of the stored samples. ``focal_planes`` and
    ``time_points`` count; 1 when there is no such axis. ``icc_profile`` is the raw profile of the pyramid.
    ``format_name`` is for people ("Aperio SVS"). ``properties`` are the file's own, as text.
    """

    format_name: str
    levels: tuple[Level, ...]
    channels: tuple[Channel, ...]
    dtype: str = "uint8"
    spacing_um: tuple[float, float] | None = None
    magnification: float | None = None
    focal_planes: int = 1
    time_points: int = 1
    icc_profile: bytes | None = None
    associated: tuple[AssociatedImage, ...] = ()
    vendor: str | None = None
    properties: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def size(self) -> Size:
        """Size of level 0 in px."""
        return self.levels[0].size


@dataclass(frozen=True, slots=True)
class SlideRecord:
    """A slide in a catalogue: the id clients use, and the key of its object (or folder) in the store.

    ``format`` is the name of the only format that may open it, None for the first one that can. ``name`` is for people,
    "" where the id will do.
    """

    id: str
    key: str
    format: str | None = None
    name: str = field(default="", compare=False)

    @property
    def handle(self) -> str:
        """What identifies the open slide: the same file opened by another format is another slide."""
        return self.key if self.format is None else f"{self.key}\0{self.format}"
