"""Files of the scene's own folder for answers, and which version of a node they show."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from microtome.scene.answers import Parts, outside
from microtome.scene.calls.base import File
from microtome.scene.calls.contents import Export
from microtome.scene.mrml.application import Application

NRRD = "application/octet-stream"
_LONGEST = 100


def version(application: Application, node: Any, *more: object) -> str:
    """Of a node and the data it holds, in this process of the scene."""
    times = [node.GetMTime()]
    if node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is not None:
        times.append(node.GetImageData().GetMTime())
    if node.IsA("vtkMRMLSegmentationNode"):
        times.append(node.GetSegmentation().GetMTime())
    text = repr((application.started, node.GetID(), times, more))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def file_name(name: str, ending: str) -> str:
    """A name of a file that is safe everywhere, from a name of a node: at most ``_LONGEST`` bytes, and the ending."""
    safe = "".join(letter if letter.isalnum() or letter in " ._-()" else "_" for letter in name).strip(". ")
    return f"{safe.encode(errors='ignore')[:_LONGEST].decode(errors='ignore') or 'node'}{ending}"


def written(
    application: Application, name: str, made: str, write: Callable[[IO[bytes]], None], media_type: str = NRRD
) -> Parts[Export]:
    """Write a file outside of the scene's thread: ``write`` may touch arrays, not nodes.

    Raises what ``write`` raises.
    """
    with new_file(application, name) as path:

        def work() -> None:
            with path.open("wb") as file:
                write(file)

        yield from outside(work)
    return Export(made, File(str(path), name, media_type))


@contextmanager
def new_file(application: Application, name: str) -> Generator[Path]:
    """A path in a new folder of the scene's own.

    Nothing is left of a file that could not be written, or that nobody waits for any more.
    """
    folder = Path(tempfile.mkdtemp(dir=application.folder))
    try:
        yield folder / name
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
