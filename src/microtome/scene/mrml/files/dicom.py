"""A folder of DICOM files, or a file of one, as a volume."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from microtome.errors import NotFound
from microtome.scene.images.series import assembled, files_of, refused, series_in
from microtome.scene.mrml import volumes
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.files.bundle import BYTES_OF_A_VOXEL, unpack
from microtome.scene.mrml.files.readers import Wanted, add_image


def read_dicom(application: Application, file: Wanted) -> list[Any]:
    """The largest series of a folder or a zip, the one of property ``seriesUID``, or the one that a file belongs to.

    ``singleFile``: nothing but this file. Raises NotFound, CorruptData, UnsupportedFormat, LimitExceeded, Forbidden.
    """
    if not file.path.is_file() or not zipfile.is_zipfile(file.path):
        return _read(application, file)
    folder = Path(tempfile.mkdtemp(dir=application.folder, prefix="series-"))
    try:
        unpack(file.path, folder, file.limits.voxels * BYTES_OF_A_VOXEL)
        (node, *_) = nodes = _read(application, replace(file, path=folder))
        node.GetStorageNode().SetFileName("")
        return nodes
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(application: Application, file: Wanted) -> list[Any]:
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
    node = add_image(application, file, image)
    node.SetAttribute("DICOM.SeriesInstanceUID", chosen.uid)
    storage = node.GetStorageNode()
    if storage is not None and file.path.is_dir():
        storage.SetFileName(str(chosen.planes[0].path))
    if file.flag("show", default=True):
        volumes.show(application, node)
    return [node]
