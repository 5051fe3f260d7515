"""Write docs/reference/scene-files.md: what becomes of every file that a scene may be given.

Each is loaded, saved in every format its kind has, loaded again, and compared with what other libraries read in the
first place. Needs the folder that MICROTOME_TESTDATA names: python -m scripts.generate_scene_files FOLDER
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from microtome.errors import MicrotomeError
from microtome.scene.calls.base import Nodes
from microtome.scene.calls.contents import GetVolume
from microtome.scene.calls.files import Loaded, LoadFile, SaveNode, SaveScene
from microtome.scene.calls.nodes import ListNodes, Named, RemoveNodes
from microtome.scene.client import SceneClient
from microtome.scene.keeper import SceneKeeper, SceneOptions
from scripts import scene_oracles as oracles

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "scene-files.md"
MARK = "<!-- From here on written by scripts/generate_scene_files.py: change the code and run it again. -->\n"
FOLDERS = ("volume", "scene")
SERIES = ("dicom/series/slicer-cthead", "dicom/series/dcmqi-adc", "dicom/rt/oriented_data")
FORMATS = {
    "Model": (".vtk", ".vtp", ".stl", ".ply", ".obj", ".glb"),
    "Segmentation": (".seg.nrrd",),
    "Transform": (".h5", ".tfm"),
    "Sequence": (".seq.nrrd",),
    "Volume": (".nrrd", ".nii.gz", ".mha"),
    "Markups": (".mrk.json", ".fcsv"),
    "ColorTable": (".ctbl",),
}
_PLACES = np.random.default_rng(1).uniform(-60, 60, (24, 3))


@dataclass(frozen=True)
class Found:
    """What became of a file. ``node``: class of the first node, "" when it was refused. ``equal``: formats it was saved
    in, reloaded and found equal; ``remark``: the reason of a refusal, or what is not equal.
    """

    key: str
    node: str = ""
    equal: tuple[str, ...] = ()
    remark: str = ""


def keys(folder: Path) -> list[str]:
    """The files of the page, sorted, then the folders with a series."""
    files = [path for name in FOLDERS for path in (folder / name).rglob("*") if path.is_file()]
    places = sorted((path.relative_to(folder) for path in files), key=lambda path: (path.parent, path.name))
    return [*(path.as_posix() for path in places), *SERIES]


async def look(folder: Path) -> list[Found]:
    """Try every file in a scene of its own kind of process."""
    place = Path(tempfile.mkdtemp(prefix="scene-files-"))
    keeper = SceneKeeper(place / "scene", SceneOptions(socket="", folder="", roots=(str(folder),)))
    client = SceneClient(keeper.socket, keeper.present, keeper.end)
    try:
        return [await Look(client, folder, place).at(key) for key in keys(folder)]
    finally:
        await client.close()
        await keeper.close()
        shutil.rmtree(place, ignore_errors=True)


class Look:
    """Tries one file after the other in the same scene, cleared between them."""

    def __init__(self, client: SceneClient, folder: Path, place: Path) -> None:
        self._client = client
        self._folder = folder
        self._place = place

    async def at(self, key: str) -> Found:
        """One file."""
        path = self._folder / key
        await self._client.ask(RemoveNodes(nodes=None))
        loaded = await self._loaded(str(path))
        if isinstance(loaded, MicrotomeError) and "SequenceFile" in loaded.message:
            loaded = await self._loaded(str(path), "SequenceFile")
        if isinstance(loaded, MicrotomeError):
            return Found(key, remark=loaded.message)
        nodes = {node.id: node for node in await self._client.ask(ListNodes())}
        node = nodes[loaded.ids[0]]
        kind = _short(node)
        if path.suffix == ".mrml":
            return await self._scene(key, [nodes[each] for each in loaded.ids], loaded)
        formats = next((found for name, found in FORMATS.items() if name in kind), ())
        if kind == "DiffusionWeightedVolume":
            formats = (".nrrd",)
        equal: list[str] = []
        trouble: list[str] = []
        for ending in formats:
            problem = await self._round(path, node, kind, ending)
            if "no known file format" in problem:
                continue  # grids of cells are no surfaces
            (trouble.append(f"{ending}: {problem}") if problem else equal.append(ending))
        return Found(key, kind, tuple(equal), "; ".join([*loaded.messages[:2], *trouble]))

    async def _loaded(self, path: str, file_type: str = "") -> Loaded | MicrotomeError:
        try:
            return await self._client.ask(LoadFile(path=path, file_type=file_type))
        except MicrotomeError as error:
            return error

    async def _round(self, path: Path, node: Named, kind: str, ending: str) -> str:
        """Save, compare with the original, load again, save again, compare again; what is wrong, "" for nothing."""
        try:
            first = Path((await self._client.ask(SaveNode(nodes=Nodes(id=node.id), file_name=ending))).path)
            check = _told(_check(kind, ending))
            problem = await asyncio.to_thread(check, path, first)
            if problem and not (ending == ".h5" and path.suffix == ".tfm"):
                return problem
            again = await self._client.ask(LoadFile(path=str(first)))
            # Transforms come back as text: that can be compared even where SimpleITK knows nothing of their kind.
            last = ".tfm" if ending == ".h5" else ending
            second = await self._client.ask(SaveNode(nodes=Nodes(id=again.ids[0]), file_name=last))
            if problem := await asyncio.to_thread(check, path, Path(second.path)):
                return f"reloaded: {problem}"
            if "Volume" in kind and "Diffusion" not in kind and kind != "VectorVolume":
                export = await self._client.ask(GetVolume(pattern=again.ids[0], type="original"))
                assert export.file is not None
                return await asyncio.to_thread(check, path, Path(export.file.path))
        except MicrotomeError as error:
            return error.message
        return ""

    async def _scene(self, key: str, nodes: list[Named], loaded: Loaded) -> Found:
        """A scene goes into a bundle and comes back with the same names."""
        before = _names(nodes)
        try:
            bundle = await self._client.ask(SaveScene())
        except MicrotomeError as error:
            return Found(key, f"{len(nodes)} nodes", (), f"not written: {error.message}")
        await self._client.ask(RemoveNodes(nodes=None))
        again = await self._client.ask(LoadFile(path=bundle.path))
        after = {node.id: node for node in await self._client.ask(ListNodes())}
        lost = before - _names([after[each] for each in again.ids])
        remark = "; ".join(dict.fromkeys(_brief(message) for message in loaded.messages))
        if lost:
            return Found(key, f"{len(nodes)} nodes", (), f"lost in the bundle: {', '.join(sorted(lost)[:3])}. {remark}")
        return Found(key, f"{len(nodes)} nodes", (".mrb",), remark)


def _names(nodes: list[Named]) -> set[str]:
    """Of nodes that a user sees; those of views and displays are made anew."""
    shown = ("Model", "Volume", "Markups", "Transform", "Segmentation")
    hidden = ("Display", "Storage", "Hierarchy")
    return {
        node.name for node in nodes if any(word in node.class_name for word in shown)
        and not any(word in node.class_name for word in hidden)
    }  # fmt: skip


def _short(node: Named) -> str:
    return node.class_name.removeprefix("vtkMRML").removesuffix("Node")


def _brief(message: str) -> str:
    return message.partition(" (vtkMRML")[0].partition(" using storage")[0]


def _told(check: Callable[[Path, Path], str]) -> Callable[[Path, Path], str]:
    """The check, with what an oracle says that cannot read a file."""

    def checked(original: Path, saved: Path) -> str:
        try:
            return check(original, saved)
        except Exception as error:  # noqa: BLE001 - each oracle has errors of its own
            if "TransformFactory" in str(error):
                return "not compared: SimpleITK knows nothing of this kind of transform"
            lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            return f"not compared, the other library says: {lines[0].strip()[:90]}"

    return checked


def _check(kind: str, ending: str) -> Callable[[Path, Path], str]:
    if "Volume" in kind or kind == "Sequence":
        return _same_volume
    if kind == "Model":
        return _same_glb if ending == ".glb" else _same_surface
    if kind == "Segmentation":
        return _same_segments
    if "Transform" in kind:
        return _same_transform
    return _same_points if "Markups" in kind else _same_colors


def _same_volume(original: Path, saved: Path) -> str:
    voxels, matrix = oracles.series_by_simpleitk(original) if original.is_dir() else oracles.volume(original)
    other, place = oracles.volume(saved)
    voxels, other = np.squeeze(voxels), np.squeeze(other)
    if voxels.shape != other.shape:
        return f"shape {other.shape} instead of {voxels.shape}"
    far = np.abs(matrix - place)[:3]
    if far.max() > 1e-3:
        return f"geometry off by {far.max():.4f} mm"
    whole = voxels.dtype.kind in "iu" and other.dtype.kind in "iu"
    same = np.array_equal(voxels, other) if whole else np.allclose(voxels, other, rtol=1e-6, atol=1e-6)
    return "" if same else f"values off by {np.abs(voxels.astype(float) - other).max():.3g}"


def _same_surface(original: Path, saved: Path) -> str:
    bounds, area = oracles.surface(original)
    other, covered = oracles.surface(saved)
    size = float(np.ptp(bounds, axis=0).max())
    if np.abs(bounds - other).max() > 1e-5 * size:
        return "other bounds"
    return "" if abs(area - covered) <= 1e-4 * area else f"area {covered:.5g} instead of {area:.5g}"


def _same_glb(original: Path, saved: Path) -> str:
    """glTF is written in the coordinates of the scene, RAS; other files are LPS."""
    bounds, _ = oracles.surface(original)
    turned = bounds * [-1, -1, 1]
    bounds = np.array([turned.min(0), turned.max(0)])
    other, triangles = oracles.glb_by_vtk(saved)
    size = float(np.ptp(bounds, axis=0).max())
    return "" if np.abs(bounds - other).max() <= 1e-5 * size and triangles else "other bounds"


def _same_segments(original: Path, saved: Path) -> str:
    before, after = oracles.segments(original), oracles.segments(saved)
    if before.keys() != after.keys():
        return "other segments"
    for segment, (name, color, count, middle) in before.items():
        other = after[segment]
        if name != other[0] or not np.allclose(color, other[1], atol=1e-4):
            return f"{name}: another name or colour"
        if count != other[2] or not np.allclose(middle, other[3], atol=1e-3):
            return f"{name}: other voxels"
    return ""


def _same_transform(original: Path, saved: Path) -> str:
    try:
        far = float(np.abs(oracles.moved(original, _PLACES) - oracles.moved(saved, _PLACES)).max())
    except RuntimeError:
        if original.suffix != ".tfm" or saved.suffix != ".tfm":
            raise
        before, after = oracles.parameters(original), oracles.parameters(saved)
        if not all(_is_nothing(numbers) for numbers in before[len(after) :]):
            return "a part of the transform is lost"
        far = max(float(np.abs(one - other).max()) for one, other in zip(before, after, strict=False))
    return "" if far < 1e-3 else f"points off by {far:.4f} mm"


def _is_nothing(numbers: npt.NDArray[np.float64]) -> bool:
    """The identity, as matrix and translation, or a centre at the origin: MRML does not write it again."""
    whole = np.concatenate([np.eye(3).ravel(), np.zeros(3)])
    return not numbers.any() or (numbers.shape == whole.shape and np.allclose(numbers, whole))


def _same_points(original: Path, saved: Path) -> str:
    read = oracles.points_of_json if saved.suffix == ".json" else oracles.points_of_fcsv
    before, after = oracles.points_of_fcsv(original), read(saved)
    return "" if before.shape == after.shape and np.allclose(before, after, atol=1e-3) else "other points"


def _same_colors(original: Path, saved: Path) -> str:
    before, after = oracles.colors(original), oracles.colors(saved)
    return "" if all(after.get(index) == color for index, color in before.items()) else "other colours"


def page(found: list[Found]) -> str:
    """The part of the page behind the mark."""
    loaded = [each for each in found if each.node]
    lines = [f"{len(loaded)} are loaded, {len(found) - len(loaded)} are refused with a reason."]
    for name, group in groupby(found, lambda each: each.key.rpartition("/")[0]):
        lines += ["", f"## {name}", "", "| File | Becomes | Saved, reloaded, equal | Remark |", "|---|---|---|---|"]
        lines += [_row(each) for each in group]
    return "\n".join([*lines, ""])


def _row(found: Found) -> str:
    remark = re.sub(r"(?<![\w.])/(?:[\w.+-]+/)+|_*tmp[0-9]\w*/", "", found.remark)
    remark = remark.replace("|", "\\|").replace("\n", " ")
    cells = [f"`{found.key.rpartition('/')[2]}`", found.node or "refused", " ".join(found.equal), remark[:300]]
    return "| " + " | ".join(cells) + " |"


def updated(found: list[Found]) -> str:
    """The page as it should be: its beginning is written by hand."""
    beginning, mark, _ = PAGE.read_text("utf-8").partition(MARK)
    return f"{beginning}{mark}\n{page(found)}"


if __name__ == "__main__":
    PAGE.write_text(updated(asyncio.run(look(Path(sys.argv[1]).resolve()))), "utf-8")
