"""The JSON of the family as its schema tells it: names and types of EMPAIA's models, which forbid anything else."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Extent(_Model):
    """Width, height in px and number of focal planes."""

    x: int
    y: int
    z: int


class Color(_Model):
    """Red, green, blue and alpha, 0 to 255."""

    r: int
    g: int
    b: int
    a: int


class Channel(_Model):
    """A channel, and the colour it is drawn in."""

    id: int
    name: str
    color: Color


class PixelSize(_Model):
    """Size of a pixel of level 0 in nm; -1 when it is not known."""

    x: float
    y: float
    z: float | None


class PyramidLevel(_Model):
    """Size of a level in its own px, and how many px of level 0 are one of its px."""

    extent: Extent
    downsample_factor: float


class SlideInfo(_Model):
    """The facts of a slide."""

    id: str = Field(description="As it was asked for")
    channels: list[Channel] | None = Field(description="Empty for sets of vector tiles")
    channel_depth: int | None = Field(description="Bits of a channel")
    extent: Extent
    num_levels: int
    pixel_size_nm: PixelSize
    tile_extent: Extent
    levels: list[PyramidLevel] = Field(description="The first is full resolution")
    format: str = Field(description="What kind of file, read by which plugin")
    raw_download: bool


class Case(_Model):
    """A case and the ids of its slides."""

    id: str
    local_id: str
    slides: list[str]


class Address(_Model):
    """A file of a slide, relative to the root of the data."""

    address: str
    slide_id: str
    main_address: bool
    storage_address_id: str


class SlideStorage(_Model):
    """The files of a slide, the one to open last."""

    slide_id: str
    storage_type: str
    storage_addresses: list[Address]


class Slide(_Model):
    """A slide of the catalogue."""

    id: str
    local_id: str
    slide_storage: SlideStorage


class VectorLayer(BaseModel):
    """A layer of the tiles, and what its features are told by (TileJSON 3.0.0 §3.3)."""

    id: str
    fields: dict[str, object]


class TileJson(BaseModel):
    """TileJSON 3.0.0 of a set of vector tiles; it may hold more than is named here (§3)."""

    tilejson: str
    tiles: list[str]
    vector_layers: list[VectorLayer]
    minzoom: int
    maxzoom: int
    scheme: str
    bounds: list[float] | None = Field(None, description="West, south, east, north in degrees")


class ParameterProblem(BaseModel):
    """What is wrong with a parameter."""

    type: str
    loc: list[str | int]
    msg: str
    input: object = None


class Problem(_Model):
    """Why there is no answer: a sentence, or one entry for each parameter that cannot be."""

    detail: str | list[ParameterProblem]


class Done(_Model):
    """That it is done."""

    detail: str
