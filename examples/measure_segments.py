"""Print the volumes of all segments of a scene: ``python measure_segments.py [http://localhost:3000] [file ...]``.

Files that are named are loaded first. Needs nothing but Python.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen


def ask(server: str, path: str, body: bytes | None = None) -> Any:
    """The JSON of an answer of the scene's API."""
    with urlopen(Request(f"{server}/scene/v1{path}", data=body, method="POST" if body else "GET")) as answer:
        return json.load(answer)


def main(server: str, files: list[str]) -> None:
    """Load, measure, print."""
    for name in files:
        ask(server, f"/files?name={quote(Path(name).name)}", Path(name).read_bytes())
    volumes = ask(server, "/nodes?class_name=vtkMRMLScalarVolumeNode")
    of = f"?volume={quote(volumes[0]['id'])}" if volumes else ""
    for segmentation in ask(server, "/segmentations"):
        print(segmentation["name"])
        for segment in ask(server, f"/segmentations/{quote(segmentation['id'])}/statistics{of}"):
            mean = "" if segment.get("mean") is None else f"   mean {segment['mean']:8.1f}"
            print(f"  {segment['name']:24} {segment['volume_ml']:10.1f} ml{mean}")


if __name__ == "__main__":
    servers = [word for word in sys.argv[1:] if word.startswith("http")]
    names = [word for word in sys.argv[1:] if word not in servers]
    main(servers[0].rstrip("/") if servers else "http://localhost:3000", names)
