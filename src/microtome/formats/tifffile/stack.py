"""What an image is made of: for every level, channel, focal plane and time point the directory that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from microtome.model import Channel

MAX_PLANES = 100_000
"""Planes (directories) of a file set."""
MAX_CHANNELS = 1024


class Place(NamedTuple):
    """One directory: of ``file`` (a name beside the main file, "" for this one), ``page`` of its chain.

    ``sub`` is one of the page's SubIFDs, -1 for the page itself. ``shift`` is how many bytes behind the data of the
    directory its own lie, for stacks that are stored with one directory only.
    """

    file: str
    page: int
    sub: int = -1
    shift: int = 0


class Plane(NamedTuple):
    """``group`` counts the directories that together make the channels of one plane."""

    group: int
    z: int
    t: int


@dataclass(frozen=True, slots=True)
class Planes:
    """The directories of one level; with ``sub`` set, SubIFDs of those in ``places``."""

    places: Mapping[Plane, Place]
    sub: int = -1

    def find(self, plane: Plane) -> Place | None:
        """Where a plane is, None when the file holds none."""
        place = self.places.get(plane)
        return place if place is None or self.sub < 0 else place._replace(sub=self.sub)


@dataclass(frozen=True, slots=True)
class Stack:
    """An image of ``groups`` times the samples of a directory, ``z`` focal planes and ``t`` time points.

    ``levels`` go from full resolution down. ``spacing_um`` is (x, y) µm per px.
    """

    format_name: str
    channels: tuple[Channel, ...]
    levels: tuple[Planes, ...]
    groups: int = 1
    z: int = 1
    t: int = 1
    spacing_um: tuple[float, float] | None = None
    magnification: float | None = None
    vendor: str | None = None
    associated: Mapping[str, Place] = field(default_factory=dict[str, Place])
    properties: Mapping[str, str] = field(default_factory=dict[str, str])


def named(count: int, names: tuple[str, ...] = (), colors: tuple[int | None, ...] = ()) -> tuple[Channel, ...]:
    """``count`` channels, "Channel n" where there is no name."""
    return tuple(
        Channel(
            (names[n].strip() if n < len(names) else "") or f"Channel {n}",
            colors[n] if n < len(colors) else None,
        )
        for n in range(count)
    )


RGB = (Channel("R", 0xFF0000), Channel("G", 0x00FF00), Channel("B", 0x0000FF))
