"""The classical way, as a peer: openslide-python's DeepZoomGenerator behind a minimal ASGI server.

Run as ``python -m benchmarks.openslide_server FOLDER PORT``; answers ``/{name}/{level}/{column}/{row}?quality=``.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import openslide
import uvicorn
from openslide.deepzoom import DeepZoomGenerator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def application(folder: Path) -> Starlette:
    generators: dict[str, DeepZoomGenerator] = {}

    def tile(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in generators:
            slide = openslide.OpenSlide(str(folder / name))
            size = int(slide.properties.get("openslide.level[0].tile-width", 256))
            generators[name] = DeepZoomGenerator(slide, tile_size=size, overlap=0, limit_bounds=False)
        deep = generators[name]
        level = deep.level_count - 1 - request.path_params["level"]
        image = deep.get_tile(level, (request.path_params["column"], request.path_params["row"]))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(request.query_params.get("quality", 80)))
        return Response(buffer.getvalue(), media_type="image/jpeg")

    return Starlette(routes=[Route("/{name}/{level:int}/{column:int}/{row:int}", tile)])


if __name__ == "__main__":
    uvicorn.run(application(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="warning", access_log=False)
