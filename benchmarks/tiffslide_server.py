"""What WSI-Service is made of, as a peer: FastAPI, tiffslide, Pillow and tifffile, and nothing around them.

Run as ``python -m benchmarks.tiffslide_server FOLDER PORT``. Pixels are read, encoded and sent on the event loop of one
process, as the original does. Ids, planes, channels, colours, padding and errors are not looked at, so an answer costs
less here than it costs there: a lower bound of the original.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import tifffile
import tiffslide
import uvicorn
from fastapi import FastAPI
from PIL import Image
from starlette.responses import Response

THUMBNAIL = (500, 500)
"""The original keeps one thumbnail of this size for each open slide and scales others from it."""


def encoded(image: Image.Image, kind: str, quality: int) -> Response:
    buffer = io.BytesIO()
    if kind == "tiff":
        planes = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
        tifffile.imwrite(buffer, planes, photometric="minisblack", planarconfig="separate", compression="DEFLATE")
    else:
        image.save(buffer, kind, quality=quality)
    return Response(buffer.getvalue(), media_type=f"image/{kind}")


def application(folder: Path) -> FastAPI:
    app = FastAPI()
    slides: dict[str, tiffslide.TiffSlide] = {}
    thumbnails: dict[str, Image.Image] = {}

    def opened(slide_id: str) -> tiffslide.TiffSlide:
        if slide_id not in slides:
            slides[slide_id] = tiffslide.TiffSlide(folder / slide_id)
        return slides[slide_id]

    def read(slide_id: str, level: int, left: int, top: int, width: int, height: int) -> Image.Image:
        slide = opened(slide_id)
        scale = slide.level_downsamples[level]
        return slide.read_region((int(left * scale), int(top * scale)), level, (width, height))

    @app.get("/v3/slides/tile/level/{level}/tile/{x}/{y}")
    async def tile(
        slide_id: str, level: int, x: int, y: int, image_format: str = "jpeg", image_quality: int = 90
    ) -> Response:
        image = read(slide_id, level, 256 * x, 256 * y, 256, 256)
        return encoded(image, image_format, image_quality)

    @app.get("/v3/slides/region/level/{level}/start/{left}/{top}/size/{width}/{height}")
    async def region(
        slide_id: str, level: int, left: int, top: int, width: int, height: int, image_format: str = "jpeg"
    ) -> Response:
        return encoded(read(slide_id, level, left, top, width, height), image_format, 90)

    @app.get("/v3/slides/thumbnail/max_size/{width}/{height}")
    async def thumbnail(slide_id: str, width: int, height: int) -> Response:
        if slide_id not in thumbnails:
            thumbnails[slide_id] = opened(slide_id).get_thumbnail(THUMBNAIL)
        image = thumbnails[slide_id].copy()
        image.thumbnail((width, height))
        return encoded(image, "jpeg", 90)

    return app


if __name__ == "__main__":
    uvicorn.run(application(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="warning", access_log=False)
