"""The process that builds the index of a large file: GeoJSON comes in, the side file goes out.

It has an interpreter of its own, so the server goes on answering, and it may be stopped at any time.
Arguments: target, plane or "", most bytes. The last line it writes is what came of it, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from microtome.errors import CorruptData, LimitExceeded, MicrotomeError, UnsupportedFormat
from microtome.formats.vector.geojson.plane import OtherPlaneError, Plane

READ = 1 << 20
_KINDS: dict[str, type[MicrotomeError]] = {
    each.__name__: each for each in (CorruptData, LimitExceeded, UnsupportedFormat)
}


def main(arguments: list[str]) -> dict[str, Any]:
    """Build; what to tell the server."""
    from microtome.formats.vector.geojson.index import build

    target, plane, most = arguments
    try:
        build(_standard_input(), Path(target), plane=cast("Plane", plane) or None, most=int(most))
    except OtherPlaneError as error:
        return {"again": error.plane}
    except MicrotomeError as error:
        return {"error": type(error).__name__, "message": error.message}
    except MemoryError:
        return {"error": "LimitExceeded", "message": "Indexing the GeoJSON file needs more memory than there is"}
    return {}


def understood(answer: bytes) -> None:
    """Raise what the process said. An answer that is none means that it died."""
    try:
        told = cast("dict[str, Any]", json.loads(answer))
    except ValueError as error:
        raise CorruptData("Indexing the GeoJSON file failed: its process died") from error
    if "again" in told:
        raise OtherPlaneError(told["again"])
    if told.get("error") == "LimitExceeded":
        raise LimitExceeded(told["message"], limit="indexes")
    if "error" in told:
        raise _KINDS.get(told["error"], CorruptData)(told["message"])


def _standard_input() -> Iterator[bytes]:
    while data := os.read(sys.stdin.fileno(), READ):
        yield data


if __name__ == "__main__":
    os.nice(10)
    sys.stdout.write(json.dumps(main(sys.argv[1:])))
