"""A folder of DICOM files, or a file of one, as a volume."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from microtome.errors import NotFound
from microtome.scene.answers import Parts, outside
from microtome.scene.images.series import assembled, files_of, refused, series_in
from microtome.scene.mrml import volumes
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.files.bundle import BYTES_OF_A_VOXEL, unpack
from microtome.scene.mrml.files.readers import Wanted, add_image, changed


@dataclass(frozen=True, slots=True)
class _Found:
    """The volume of a series, and a file of it."""

    made: volumes.Prepared
    uid: str
    path: Path


def read_dicom(application: Application, file: Wanted) -> Parts[list[Any]]:
    """The largest series of a folder or a zip, the one of property ``seriesUID``, or the one that a file belongs to.

    ``singleFile``: nothing but this file. Raises NotFound, CorruptData, UnsupportedFormat, LimitExceeded, Forbidden.
    """
    folder = Path(tempfile.mkdtemp(dir=application.folder, prefix="series-"))
    try:
        found = yield from outside(lambda: _unpacked(file, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    node = add_image(application, file, found.made)
    node.SetAttribute("DICOM.SeriesInstanceUID", found.uid)
    storage = node.GetStorageNode()
    if storage is not None and folder in found.path.parents:
        storage.SetFileName("")
    elif storage is not None and file.path.is_dir():
        storage.SetFileName(str(found.path))
    if file.flag("show", default=True):
        volumes.show(application, node)
    return [node]


def _unpacked(file: Wanted, folder: Path) -> _Found:
    if file.path.is_file() and zipfile.is_zipfile(file.path):
        unpack(file.path, folder, file.limits.voxels * BYTES_OF_A_VOXEL)
        file = replace(file, path=folder)
    return _read(file)


def _read(file: Wanted) -> _Found:
    folder = file.path if file.path.is_dir() else file.path.parent
    alone = file.path.is_file() and file.flag("singleFile", default=False)
    paths = [file.path] if alone else files_of(folder)
    uid = file.properties.get("seriesUID", "").strip()
    if not uid and file.path.is_file():
        uid = next((series.uid for series in series_in([file.path])), "-")
    found = series_in(paths)
    chosen = next((series for series in found if not uid or series.uid == uid), None)
    if chosen is None:
        raise NotFound("series", uid, "The files hold no such series") if found and uid != "-" else refused(paths)
    if len({series.uid for series in found}) > 1 and not uid:
        file.messages.append(f"The folder holds {len({series.uid for series in found})} series; the largest was taken")
    elif sum(series.uid == chosen.uid for series in found) > 1:
        file.messages.append("The series has images of several sizes or orientations; the largest group was taken")
    image = assembled(chosen, file.limits, file.messages)
    return _Found(changed(file, image), chosen.uid, chosen.planes[0].path)
