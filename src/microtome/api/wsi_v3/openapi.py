"""What the operations of the family answer, as OpenAPI tells it: one table of statuses, one of kinds of answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from microtome.api.wsi_v3 import models
from microtome.pixels import images

_STATUSES: dict[int, str] = {
    304: "Not modified: the ETag is among those of If-None-Match",
    400: "A format, plugin or channel that does not exist, or does not fit the slide",
    401: "No token, or one that does not let in; WWW-Authenticate says why",
    403: "The login lets nobody in like this",
    404: "No such slide, case, tile or picture, or none that the caller may see",
    412: "The slide has no ICC profile, and icc_profile_strict asks for one",
    415: "The file is damaged, or of a kind this server cannot read",
    422: "A parameter is missing, cannot be read or is out of range; or more pixels than this server renders",
    500: "A mistake of the server, logged under the number in the text",
    501: "Sets of vector tiles have no such picture",
    502: "The store or the catalogue cannot be reached, or denies access",
    503: "The server, the store or the catalogue is busy; try again",
    504: "The store did not answer in time",
}
_COMMON = (400, 401, 403, 404, 415, 422, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Answered:
    """A successful answer: its media types, or the model of its JSON, and the statuses beside the common ones."""

    description: str
    media_types: tuple[str, ...] = ()
    model: Any = None
    more: tuple[int, ...] = ()

    def responses(self) -> dict[int | str, dict[str, Any]]:
        """Response objects of OpenAPI 3.1 §4.8.17, as FastAPI wants them."""
        good: dict[str, Any] = {"description": self.description}
        if self.media_types:
            good["content"] = {each: {} for each in self.media_types}
        if self.model is not None:
            good["model"] = self.model
        found: dict[int | str, dict[str, Any]] = {200: good}
        for status in sorted({*_COMMON, *self.more}):
            found[status] = {"description": _STATUSES[status]}
            if status >= 400:
                found[status]["model"] = models.Problem
        return found


def _types(*, passthrough: bool) -> tuple[str, ...]:
    kinds = (kind.media_type for kind in images.KINDS.values() if passthrough or not kind.passthrough)
    return tuple(dict.fromkeys(kinds))


_PICTURES = _types(passthrough=False)
_TILES = _types(passthrough=True)
_ZIP = "application/zip"

INFO = Answered("The facts", model=models.SlideInfo, more=(304,))
INFOS = Answered(
    "The facts in the order asked for; of one slide alone when it is named by slide_id",
    model=list[models.SlideInfo] | models.SlideInfo,
    more=(304,),
)
CASES = Answered("Those the caller may see", model=list[models.Case], more=(304,))
SLIDES = Answered("Those the caller may see", model=list[models.Slide], more=(304,))
SLIDE = Answered("The slide", model=models.Slide, more=(304,))
STORAGE = Answered("Its files", model=models.SlideStorage, more=(304,))
TILE_JSON = Answered("The description", model=models.TileJson, more=(304,))
DONE = Answered("Done", model=models.Done)
ASSOCIATED = Answered("A picture", _PICTURES, more=(304,))
COLOURED = Answered("A picture", _PICTURES, more=(304, 412))
RASTER = Answered("A picture", _PICTURES, more=(304, 412, 501))
TILE = Answered("A picture; of a set of vector tiles the tile as it is stored", _TILES, more=(304, 412))
VECTOR_TILE = Answered("The tile as it is stored", _TILES, more=(304,))
DOWNLOAD = Answered("A zip archive", (_ZIP,))
PROFILE = Answered("The profile; nothing for sets of vector tiles", ("application/octet-stream",), more=(304,))
PROFILES = Answered("A zip archive of the profiles", (_ZIP,))
_ARCHIVE = "A zip archive of pictures in the order asked for, or one picture for slide_id"
ARCHIVE = Answered(_ARCHIVE, (_ZIP, *_PICTURES), more=(304, 412, 501))
ARCHIVE_OF_TILES = Answered(_ARCHIVE, (_ZIP, *_TILES), more=(304, 412))


def operation(summary: str, answered: Answered, description: str) -> dict[str, Any]:
    """What a route decorator takes."""
    return {
        "summary": summary,
        "description": description,
        "response_class": Response,
        "responses": answered.responses(),
    }
