"""The operations of the family as OpenAPI tells them; ``routes`` has a handler of the same name for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from microtome.api.raw import U32, U64
from microtome.pixels.color import Intent
from microtome.pixels.styles import STYLES_HELP, STYLES_PATTERN

_TEXT = {"type": "string"}
INTENTS: dict[str, Intent | None] = {
    "none": None,
    "srgb": "perceptual",
    "perceptual": "perceptual",
    "relative_colorimetric": "relative_colorimetric",
    "saturation": "saturation",
    "absolute_colorimetric": "absolute_colorimetric",
}
LOOK = ("quality", "icc", "channels", "z", "t")
"""What says how a picture looks."""


def _whole(largest: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "maximum": largest}


_PARAMETERS: dict[str, dict[str, Any]] = {
    "slide_id": {"schema": _TEXT, "description": "Key of the slide, percent-encoded as one segment (`/` is `%2F`)"},
    "level": {"schema": _whole(U32), "description": "Level of the pyramid"},
    "x": {"schema": _whole(U32), "description": "Column of the tile"},
    "filename": {
        "schema": {**_TEXT, "pattern": r"^[0-9]{1,9}(\.jpg)?$"},
        "description": "Row of the tile, `{y}` or `{y}.jpg`",
    },
    "deep_zoom_filename": {
        "schema": {**_TEXT, "pattern": r"^[0-9]{1,9}_[0-9]{1,9}\.(jpg|jpeg|png|webp)$"},
        "description": "`{column}_{row}.jpg`, or another type of image",
    },
    "name": {"schema": {**_TEXT, "enum": ["label", "macro", "thumbnail"]}, "description": "Which picture"},
    "path": {"schema": _TEXT, "description": "Path of the file"},
    "quality": {"schema": {"type": "integer", "minimum": 1, "maximum": 100}, "description": "Quality, 1 to 100"},
    "icc": {
        "schema": {**_TEXT, "enum": list(INTENTS)},
        "description": "Converts to sRGB through the slide's ICC profile with this intent; `srgb` is perceptual",
    },
    "channels": {
        "schema": {**_TEXT, "pattern": STYLES_PATTERN},
        "description": f"Channels to draw: {STYLES_HELP}",
    },
    "z": {"schema": _whole(U32), "description": "Focal plane, from 0"},
    "t": {"schema": _whole(U32), "description": "Time point, from 0"},
    "zoom": {"schema": _whole(U32), "description": "Zoom of the set of vector tiles"},
    "vector_filename": {
        "schema": {**_TEXT, "pattern": r"^[0-9]{1,9}\.(mvt|pbf|json|geojson)$"},
        "description": "`{y}.mvt`: row of the tile, from the top",
    },
    "overlay_id": {"schema": _TEXT, "description": "SOP Instance UID of the annotations or segmentation"},
    "overlay_filename": {
        "schema": {**_TEXT, "pattern": r"^[0-9]{1,9}\.(mvt|png)$"},
        "description": "`{y}.mvt` of annotations, `{y}.png` of segments: row of the tile, from the top",
    },
    "segments": {
        "schema": {**_TEXT, "pattern": r"^([0-9]{1,5}(,[0-9]{1,5})*)?$"},
        "description": "Numbers of the segments that are drawn, separated by commas; all where it is missing",
    },
    "max_size": {"schema": _whole(U32), "description": "Longest side in px, 64 to 2048"},
    "limit": {"schema": _whole(U32), "description": "Slides of a page, 1 to 1000"},
    "cursor": {"schema": {**_TEXT, "minLength": 1}, "description": "`next_cursor` of the page before"},
    "prefix": {"schema": _TEXT, "description": "Beginning of the keys, case-sensitive"},
    "search": {"schema": _TEXT, "description": "Part of the keys, whatever its case"},
    "sig": {"schema": _TEXT, "description": "Signature of path and query, hexadecimal"},
    "vt": {"schema": _TEXT, "description": "Viewer token of the slide, hexadecimal"},
    "ct": {"schema": _TEXT, "description": "Catalogue token, for listing and for every slide, hexadecimal"},
    "exp": {"schema": _whole(U64), "description": "Expiry, unix time in s"},
}
_SHORTER = {"deep_zoom_filename": "filename", "vector_filename": "filename", "overlay_filename": "filename"}
_ERROR = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["error", "message", "status"],
            "properties": {"error": _TEXT, "message": _TEXT, "status": {"type": "integer"}},
        }
    }
}
_ERRORS = {
    400: "A parameter is out of range (JSON) or cannot be read (plain text)",
    401: "The URL is not signed, or its signature does not fit or has expired",
    404: "No such slide or image",
    413: "Larger than this server renders",
    415: "The file is not a slide this server can read",
    500: "A tile is broken, or a mistake of the server",
    502: "The store cannot be reached or denies access",
    503: "The server or the store is busy; try again",
    504: "The store did not answer in time",
}


SLIDES, PAGES, ALWAYS = "slides", "pages", "always"
"""Parts of the family that are served or not, and what is served with or without them."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation is called, does and takes, and which ``part`` of the family it is."""

    name: str
    summary: str
    media_types: tuple[str, ...]
    query: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    description: str = ""
    fails: bool = True
    documented: bool = True
    part: str = SLIDES

    def parameters(self) -> list[dict[str, Any]]:
        """OpenAPI parameter objects."""
        signed = ("sig", "vt", "ct", "exp") if self.path and self.fails else ()
        return [
            *(
                {
                    "name": _SHORTER.get(name, name),
                    "in": "path",
                    "required": True,
                    **_PARAMETERS[name],
                }
                for name in self.path
            ),
            *({"name": name, "in": "query", "required": False, **_PARAMETERS[name]} for name in (*self.query, *signed)),
        ]

    def responses(self) -> dict[int | str, dict[str, Any]]:
        """OpenAPI response objects."""
        found: dict[int | str, dict[str, Any]] = {
            200: {"description": "Success", "content": {media: {} for media in self.media_types}}
        }
        if self.fails:
            found[304] = {"description": "Not modified"}
            for status, description in _ERRORS.items():
                content = {**_ERROR, "text/plain": {"schema": _TEXT}} if status == 400 else _ERROR
                found[status] = {"description": description, "content": content}
        return found


_JPEG = ("image/jpeg",)
_ID = ("slide_id",)
OPERATIONS: dict[str, Operation] = {
    "/": Operation("catalogue", "The catalogue page", ("text/html",), fails=False, part=PAGES),
    "/health": Operation("health", "Whether the server answers", ("application/json",), fails=False, part=ALWAYS),
    "/static/{path:path}": Operation(
        "static", "A file of the pages", (), path=("path",), fails=False, documented=False, part=PAGES
    ),
    "/view/{slide_id}": Operation("view", "The viewer page of a slide", ("text/html",), path=_ID, part=PAGES),
    "/tiles/{slide_id}/{level}/{x}/{filename}": Operation(
        "tile",
        "A tile of a native level",
        _JPEG,
        LOOK,
        ("slide_id", "level", "x", "filename"),
        "Level 0 is full resolution. Edge tiles keep their padding. At the default quality a stored JPEG tile is"
        " answered as it is stored.",
    ),
    "/slides": Operation(
        "slides", "List slides", ("application/json",), ("limit", "cursor", "prefix", "search", "sig", "ct", "exp")
    ),
    "/slides/{slide_id}": Operation("slide", "The facts of a slide", ("application/json",), path=_ID),
    "/slides/{slide_id}/dzi": Operation("dzi", "The Deep Zoom descriptor", ("application/xml",), path=_ID),
    "/slides/{slide_id}/dzi_files/{level}/{filename}": Operation(
        "dzi_tile",
        "A Deep Zoom tile",
        ("image/jpeg", "image/png", "image/webp"),
        LOOK,
        ("slide_id", "level", "deep_zoom_filename"),
    ),
    "/slides/{slide_id}/thumbnail": Operation(
        "thumbnail", "The whole slide in one picture", _JPEG, ("max_size", *LOOK), _ID
    ),
    "/slides/{slide_id}/associated/{name}": Operation(
        "associated", "A picture beside the slide", _JPEG, ("quality", "icc"), ("slide_id", "name")
    ),
    "/slides/{slide_id}/channels": Operation(
        "channels",
        "The channels of a slide",
        ("application/json",),
        path=_ID,
        description="How each channel looks best, and its histogram; empty for colour slides.",
    ),
    "/slides/{slide_id}/tilejson": Operation(
        "tilejson", "TileJSON of a set of vector tiles", ("application/json",), path=_ID
    ),
    "/slides/{slide_id}/vector/{zoom}/{x}/{filename}": Operation(
        "vector_tile",
        "A vector tile",
        ("application/vnd.mapbox-vector-tile", "application/geo+json", "application/json"),
        path=("slide_id", "zoom", "x", "vector_filename"),
        description="As it is stored; the type is the one of its content whatever the name says.",
    ),
    "/slides/{slide_id}/overlays": Operation(
        "overlays",
        "What was marked on a slide",
        ("application/json",),
        path=_ID,
        description="DICOM annotations and segmentations of the study of the slide: groups and segments with names,"
        " colours, counts and measurements.",
    ),
    "/slides/{slide_id}/overlays/{overlay_id}/{level}/{x}/{filename}": Operation(
        "overlay_tile",
        "A tile of an overlay",
        ("application/vnd.mapbox-vector-tile", "image/png"),
        ("segments",),
        ("slide_id", "overlay_id", "level", "x", "overlay_filename"),
        "Annotations are vector tiles of 512 px of a square with the slide at its upper left; `level` is the zoom, 0"
        " for one tile, and the highest (`zoom` of the overlay) has the px of the slide. Segments are pictures of the"
        " tiles of the slide, `level` and all, transparent where no segment is.",
    ),
    "/slides/{slide_id}/icc": Operation("icc", "The ICC profile", ("application/vnd.iccprofile",), path=_ID),
}
