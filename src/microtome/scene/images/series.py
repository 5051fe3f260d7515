"""A series of DICOM images as one volume: sorted along its normal, rescaled, placed (PS3.3 §C.7.6.2, §C.7.6.16)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from microtome.errors import CorruptData, NotFound
from microtome.scene.images import deflated
from microtome.scene.images.frames import frames_of
from microtome.scene.images.image import LPS_TO_RAS, Image, Limits, checked_matrix, checked_sizes, unsupported

MAX_FILES = 20_000
MAX_DEPTH = 3
_EVEN = 0.01
"""Steps between slices that differ by less (share of the step) are even."""
_SAME_MM = 1e-3


@dataclass(frozen=True, slots=True)
class Plane:
    """One image, in a file or one frame of it. ``position``: mm left, posterior, superior, of its first pixel's centre.

    ``across``, ``down``: unit vectors along a row and along a column. ``spacing``: (between rows, between columns).
    """

    path: Path
    frame: int
    number: int
    size: tuple[int, int]
    position: npt.NDArray[np.float64]
    across: npt.NDArray[np.float64]
    down: npt.NDArray[np.float64]
    spacing: tuple[float, float]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Out of the plane."""
        return np.cross(self.across, self.down)


@dataclass(frozen=True, slots=True)
class Series:
    """The images of one series, unsorted. ``thickness``: mm, where there is one image alone."""

    uid: str
    name: str
    planes: tuple[Plane, ...]
    thickness: float


def files_of(folder: Path) -> list[Path]:
    """The files of a folder and of the folders in it, three deep; links are not followed. Raises CorruptData."""
    found: list[Path] = []
    waiting = [(folder, 0)]
    while waiting:
        here, depth = waiting.pop()
        for path in sorted(here.iterdir()):
            if path.is_symlink():
                continue
            if path.is_dir() and depth < MAX_DEPTH:
                waiting.append((path, depth + 1))
            elif path.is_file():
                found.append(path)
        if len(found) > MAX_FILES:
            raise CorruptData(f"More than {MAX_FILES} files in a folder of DICOM files")
    return found


def series_in(paths: Iterable[Path]) -> list[Series]:
    """The series whose images lie in these files, the largest first; what is no DICOM image is passed over."""
    planes: dict[tuple[str, tuple[int, int], tuple[float, ...]], list[Plane]] = defaultdict(list)
    facts: dict[str, tuple[str, float]] = {}
    for path in paths:
        dataset = _header(path)
        if dataset is None:
            continue
        uid = str(dataset.get("SeriesInstanceUID", ""))
        thickness = _number(dataset.get("SpacingBetweenSlices"), _number(dataset.get("SliceThickness"), 1.0))
        facts[uid] = str(dataset.get("SeriesDescription", "") or dataset.get("Modality", "")), thickness
        for plane in _planes(dataset, path):
            turned = tuple(round(float(value), 3) + 0.0 for value in (*plane.across, *plane.down))
            planes[uid, plane.size, turned].append(plane)
    found = [Series(key[0], facts[key[0]][0], tuple(group), facts[key[0]][1]) for key, group in planes.items()]
    return sorted(found, key=lambda series: -len(series.planes))


def assembled(series: Series, limits: Limits, messages: list[str]) -> Image:
    """The volume of a series; what is uneven about it is told in ``messages``.

    Raises CorruptData, UnsupportedFormat, LimitExceeded.
    """
    planes = _one_each(_sorted(series.planes), messages)
    first, last = planes[0], planes[-1]
    rows, columns = first.size
    checked_sizes([columns, rows, len(planes)], 2, limits)
    if len(planes) > 1:
        step = (last.position - first.position) / (len(planes) - 1)
        _report(planes, step, messages)
    else:
        step = first.normal * (series.thickness if series.thickness > 0 else 1.0)
    matrix = np.eye(4)
    matrix[:3, 0] = first.across * first.spacing[1]
    matrix[:3, 1] = first.down * first.spacing[0]
    matrix[:3, 2] = step
    matrix[:3, 3] = first.position
    return Image(_voxels(planes, limits), checked_matrix(LPS_TO_RAS @ matrix))


def _header(path: Path) -> Any:
    """The data set of an image without its pixels; None for what is none. Raises as ``deflated.check``."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    deflated.check(path)
    try:
        dataset: Any = cast("Any", pydicom).dcmread(path, stop_before_pixels=True, defer_size=1 << 16)
        return dataset if "Rows" in dataset and "Columns" in dataset and "SeriesInstanceUID" in dataset else None
    except InvalidDicomError:
        return None
    except (ValueError, EOFError, NotImplementedError, KeyError, AttributeError, TypeError, OSError):
        return None


def _planes(dataset: Any, path: Path) -> Iterable[Plane]:
    try:
        size = int(dataset.Rows), int(dataset.Columns)
        number = int(dataset.get("InstanceNumber") or 0)
        count = int(dataset.get("NumberOfFrames") or 1)
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
        each: list[Any] = [*(dataset.get("PerFrameFunctionalGroupsSequence") or ())]
        if min(size) < 1 or not 1 <= count <= 1 << 16 or "TotalPixelMatrixColumns" in dataset:
            return  # tiles of a slide are no slices
        for frame in range(count):
            own = each[frame] if frame < len(each) else None
            groups: list[Any] = [group for group in (own, shared) if group is not None]
            orientation = _of(groups, dataset, "PlaneOrientationSequence", "ImageOrientationPatient")
            position = _of(groups, dataset, "PlanePositionSequence", "ImagePositionPatient")
            spacing = _of(groups, dataset, "PixelMeasuresSequence", "PixelSpacing") or dataset.get("ImagerPixelSpacing")
            across, down = np.reshape([float(value) for value in orientation or (1, 0, 0, 0, 1, 0)], (2, 3))
            place = np.array([float(value) for value in position or (0, 0, frame if count > 1 else 0)], np.float64)
            rows, columns = (float(value) for value in spacing or (1, 1))
            lengths = np.linalg.norm(across), np.linalg.norm(down)
            if min(lengths) > 0 and min(rows, columns) > 0 and place.shape == (3,):
                yield Plane(
                    path, frame, number + frame, size, place, across / lengths[0], down / lengths[1], (rows, columns)
                )
    except (ValueError, TypeError, AttributeError, IndexError, KeyError):
        return  # an image whose place cannot be read belongs to no volume


def _of(groups: Sequence[Any], dataset: Any, sequence: str, name: str) -> Any:
    """A value of a frame, of all frames, or of the image."""
    for group in groups:
        items = group.get(sequence)
        if items and (value := items[0].get(name)):
            return value
    return dataset.get(name)


def _sorted(planes: Sequence[Plane]) -> list[Plane]:
    normal = planes[0].normal
    return sorted(planes, key=lambda plane: (round(float(plane.position @ normal), 4), plane.number))


def _one_each(planes: list[Plane], messages: list[str]) -> list[Plane]:
    """One image for each place: the first of those that lie in the same (echoes, times)."""
    normal = planes[0].normal
    kept: list[Plane] = []
    for plane in planes:
        if not kept or abs(float((plane.position - kept[-1].position) @ normal)) > _SAME_MM:
            kept.append(plane)
    if len(kept) < len(planes):
        messages.append(f"{len(planes)} images lie in {len(kept)} places; the first of each was taken")
    return kept


def _report(planes: list[Plane], step: npt.NDArray[np.float64], messages: list[str]) -> None:
    places = np.array([plane.position for plane in planes])
    steps = np.diff(places @ planes[0].normal)
    if steps.max() - steps.min() > _EVEN * abs(steps).mean():
        messages.append(
            f"The slices are not evenly spaced: {steps.min():.3f} to {steps.max():.3f} mm, taken as {steps.mean():.3f}"
        )
    lean = step - (step @ planes[0].normal) * planes[0].normal
    if np.linalg.norm(lean) > _EVEN * np.linalg.norm(step):
        messages.append("The slices lie askew (the gantry was tilted); the volume leans with them")


def _voxels(planes: list[Plane], limits: Limits) -> npt.NDArray[Any]:
    by_file: dict[Path, list[int]] = defaultdict(list)
    for place, plane in enumerate(planes):
        by_file[plane.path].append(place)
    volume: npt.NDArray[Any] | None = None
    for path, places in by_file.items():
        frames = frames_of(path, [planes[place].frame for place in places], limits.voxels)
        for place, frame in zip(places, frames, strict=True):
            if volume is None:
                checked_sizes([*frame.shape, len(planes)], frame.dtype.itemsize, limits)
                volume = np.zeros((len(planes), *frame.shape), frame.dtype)
            if frame.shape != volume.shape[1:]:
                raise CorruptData("The images of the series have different sizes")
            if not np.can_cast(frame.dtype, volume.dtype):
                volume = volume.astype(np.result_type(volume.dtype, frame.dtype))
            volume[place] = frame
    if volume is None:
        raise NotFound("series", "", "There are no DICOM images")
    return volume


def _number(value: Any, default: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return default


def refused(paths: Sequence[Path]) -> Exception:
    """Why these files became no volume."""
    if not paths:
        return NotFound("series", "", "The folder holds no files")
    return unsupported("there are no DICOM images with a place among the files")
