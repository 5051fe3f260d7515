"""``microtome inspect``."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import click
from rich.console import Console
from rich.table import Table

from microtome.cli.opening import opened_place, split_place
from microtome.cli.options import Failure, load, settings_options
from microtome.errors import NotFound, UnsupportedFormat
from microtome.model import SlideInfo

_STORAGE = ("s3_bucket", "s3_endpoint", "s3_region", "s3_anonymous", "follow_symlinks", "storage_timeout")


@click.command()
@click.argument("place", metavar="PATH|URL")
@click.option("--slide", "key", help="Key of the slide, when PATH or URL is a folder or a bucket.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options(only=_STORAGE)
def inspect(place: str, key: str | None, *, as_json: bool, **given: Any) -> None:
    """Print what a slide holds: levels, spacing, pictures beside it, properties."""
    parent, name = (place, key) if key else split_place(place)
    settings = load(given, parent).settings

    async def facts() -> SlideInfo:
        async with opened_place(settings) as opened, opened.opened(name) as (slide, _):
            return await slide.info()

    try:
        info = asyncio.run(facts())
    except (NotFound, UnsupportedFormat) as error:
        if key or (isinstance(error, UnsupportedFormat) and error.feature != "folder of files"):
            raise
        raise Failure(f"{place} is no slide; name one in it with --slide KEY") from error
    described = describe(name, info)
    if as_json:
        click.echo(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        _print(described)


def describe(name: str, info: SlideInfo) -> dict[str, Any]:
    """Everything that is known of a slide, for JSON."""
    return {
        "slide": name,
        "format": info.format_name,
        "vendor": info.vendor,
        "width": info.size.width,
        "height": info.size.height,
        "mpp": list(info.spacing_um) if info.spacing_um else None,
        "magnification": info.magnification,
        "channels": [channel.name for channel in info.channels],
        "dtype": info.dtype,
        "focal_planes": info.focal_planes,
        "time_points": info.time_points,
        "icc_profile_bytes": len(info.icc_profile) if info.icc_profile else None,
        "levels": [
            {
                "level": number,
                "width": level.size.width,
                "height": level.size.height,
                "tile_width": level.tile_size.width,
                "tile_height": level.tile_size.height,
                "tiles": level.columns * level.rows,
                "downsample": level.downsample,
            }
            for number, level in enumerate(info.levels)
        ],
        "associated": {image.name: list(image.size) for image in info.associated},
        "properties": dict(sorted(info.properties.items())),
    }


def _print(described: dict[str, Any]) -> None:
    console = Console()
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name in ("slide", "format", "vendor", "mpp", "magnification", "channels", "dtype", "icc_profile_bytes"):
        value = described[name]
        if value is not None:
            facts.add_row(
                name, ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else str(value)
            )
    for name, size in described["associated"].items():
        facts.add_row(name, f"{size[0]} x {size[1]} px")
    console.print(facts)
    levels = Table("level", "size", "tile", "tiles", "downsample", box=None, pad_edge=False)
    for level in described["levels"]:
        levels.add_row(
            str(level["level"]), f"{level['width']} x {level['height']}",
            f"{level['tile_width']} x {level['tile_height']}", str(level["tiles"]), f"{level['downsample']:.3f}",
        )  # fmt: skip
    console.print(levels)
    if described["properties"]:
        properties = Table("property", "value", box=None, pad_edge=False)
        for name, value in described["properties"].items():
            properties.add_row(name, value[:300])
        console.print(properties)
