"""Whole scenes: .mrml with the files it names, and .mrb, which is a zip of both.

Before MRML sees a scene, its text is read here: files it names must lie beside it, nothing is fetched, and headers of
volumes among them are looked at. A bundle is unpacked here too, with bounds.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.parsers import expat

from microtome.errors import CorruptData, Forbidden, LimitExceeded, MicrotomeError, StorageUnavailable
from microtome.scene import places
from microtome.scene.answers import Parts, outside
from microtome.scene.calls.base import File
from microtome.scene.calls.files import SaveScene
from microtome.scene.images import Limits, check_image
from microtome.scene.images import packing as packed
from microtome.scene.mrml import volumes
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.files import before
from microtome.scene.mrml.files.attributes import is_bearable
from microtome.scene.mrml.files.readers import Wanted, failed, ids_of, new_since
from microtome.scene.mrml.files.save import in_place
from microtome.scene.mrml.files.text import ADDRESS, FILE, escaped, lay_out
from microtome.scene.mrml.library import slicer
from microtome.scene.mrml.meshes import check_sound

MAX_ENTRIES = 20_000
MAX_SCENE = 64 << 20
MAX_ELEMENTS = 10_000
MAX_RATIO = 1100
BYTES_OF_A_VOXEL = 16
_OF_VOXELS = ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode")
_BUNDLE = "application/x-slicer-mrb"
_MEDIA_TYPES = {".mrml": "application/x-slicer-mrml"}


def read_scene(application: Application, file: Wanted) -> Parts[list[Any]]:
    """The nodes of a scene, added to those that are there, or alone (property ``clear``).

    Raises Forbidden (a scene that reaches out of its folder), CorruptData, LimitExceeded.
    """
    folder = Path(tempfile.mkdtemp(dir=application.folder, prefix="bundle-"))
    try:
        path, cleaned = yield from outside(lambda: _looked_through(file, folder))
        nodes = _import(application, file, path, cleaned)
        _forget_files(application, nodes, folder)
        return nodes
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _looked_through(file: Wanted, folder: Path) -> tuple[Path, str]:
    """Where the scene is, a bundle unpacked into ``folder``, and its text once all it names has been looked at."""
    if not zipfile.is_zipfile(file.path):
        return file.path, _cleaned(file, file.path)
    unpack(file.path, folder, file.limits.voxels * BYTES_OF_A_VOXEL)
    scenes = sorted(folder.rglob("*.mrml"), key=lambda path: (len(path.parts), path.name))
    if not scenes:
        raise CorruptData("The bundle holds no scene (.mrml)")
    cleaned = _cleaned(file, scenes[0])
    _unpack_voxels(folder, file.limits)
    return scenes[0], cleaned


def _unpack_voxels(folder: Path, limits: Limits) -> None:
    """Unpack NRRD, too, as far as there is room: MRML's readers hold everybody up while they do it."""
    aside = folder / f"plain-{os.urandom(8).hex()}"
    left = limits.voxels * BYTES_OF_A_VOXEL
    for path in folder.rglob("*.nrrd"):
        if path.is_file():
            with suppress(MicrotomeError):  # of files that the scene does not name
                check_image(path, Limits(limits.voxels))
                if packed.unpack_nrrd(path, aside, left):
                    left -= aside.stat().st_size
                    aside.replace(path)


def unpack(bundle: Path, folder: Path, most: int) -> None:
    """The files of a zip, inside ``folder``, ``most`` bytes together.

    Raises Forbidden (names that lead out of it, links), LimitExceeded (bombs), CorruptData.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                raise LimitExceeded(f"The bundle holds more than {MAX_ENTRIES} files", limit="MAX_ENTRIES")
            if sum(entry.file_size for entry in entries) > most:
                raise LimitExceeded("The bundle becomes too large when it is unpacked", limit="scene_voxels")
            left = most
            for entry in entries:
                left -= _unpack_one(archive, entry, folder, left)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise CorruptData("The bundle is no zip that can be read") from error


def _unpack_one(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, most: int) -> int:
    name = entry.filename
    path = Path(name)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name[:2]:
        raise Forbidden("The bundle holds a file that would lie outside of it")
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise Forbidden("The bundle holds something that is no file")
    if len(path.parts) > 32 or len(name) > 1024:
        raise CorruptData("The bundle holds a file with too long a name")
    target = folder / path
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return 0
    if entry.file_size > max(entry.compress_size, 1) * MAX_RATIO:
        raise LimitExceeded("The bundle holds a file packed beyond belief", limit="MAX_RATIO")
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, target.open("wb") as into:
        while part := source.read(1 << 20):
            written += len(part)
            if written > min(entry.file_size, most):
                raise LimitExceeded("The bundle holds more than its list of contents tells", limit="scene_voxels")
            into.write(part)
    return written


def _import(application: Application, file: Wanted, path: Path, cleaned: str) -> list[Any]:
    """Add the nodes of a scene file, whose text is ``cleaned``."""
    scene = application.scene
    if file.flag("clear", default=False):
        scene.Clear(0)
    known = ids_of(scene)
    # Beside the original, or relative names would mean something else; its folder may be read-only, so as text.
    messages = slicer.vtkMRMLMessageCollection()
    url, root = scene.GetURL(), scene.GetRootDirectory()
    scene.SetURL(str(path))
    scene.SetRootDirectory(str(path.parent))
    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(cleaned)
    try:
        done = scene.Import(messages)
    finally:
        scene.SetLoadFromXMLString(0)
        scene.SetSceneXMLString("")
        scene.SetURL(url or "")
        scene.SetRootDirectory(root or "")
    nodes = new_since(scene, known)
    file.messages.extend(_told(messages, path))
    if not done and not nodes:
        raise failed(file, messages)
    _without_broken_meshes(file, nodes)
    _without_circles(file, nodes)
    shown = [node for node in nodes if node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is not None]
    if shown and application.logic.GetSelectionNode().GetActiveVolumeID() is None and file.flag("show", default=True):
        volumes.show(application, shown[0])
    nodes.sort(key=lambda node: not (node.IsA("vtkMRMLDisplayableNode") and not node.GetHideFromEditors()))
    return nodes


def _without_broken_meshes(file: Wanted, nodes: list[Any]) -> None:
    """Models that would end the process when they are drawn stay empty."""
    for node in nodes:
        try:
            if node.IsA("vtkMRMLModelNode") and node.GetMesh() is not None:
                check_sound(node.GetMesh())
        except CorruptData as error:
            node.SetAndObserveMesh(None)
            file.messages.append(f"{node.GetName()} stays empty. {error.message}")


def _without_circles(file: Wanted, nodes: list[Any]) -> None:
    """Transforms that lie below themselves lie below nothing: who follows them upwards would never arrive."""
    for node in nodes:
        above, steps = node, 0
        while above is not None and steps <= len(nodes):
            above = above.GetParentTransformNode() if above.IsA("vtkMRMLTransformableNode") else None
            steps += 1
        if above is not None:
            node.SetAndObserveTransformNodeID(None)
            file.messages.append(f"{node.GetName()} lies below itself; it is put below nothing")


def _told(messages: Any, path: Path) -> list[str]:
    texts = [str(messages.GetNthMessageText(number)) for number in range(min(messages.GetNumberOfMessages(), 50))]
    return [text.split(" [vtk")[0].replace(f"{path.parent}/", "")[:300].strip() for text in texts]


class _Scene:
    """The text of a scene, written again without what reaches out of it."""

    def __init__(self, file: Wanted, path: Path) -> None:
        self._file = file
        self._path = path
        self._depth = 0
        self._elements = 0
        self.text: list[str] = ['<?xml version="1.0" encoding="UTF-8"?>\n']
        self.named: list[Path] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise LimitExceeded(f"The scene has more than {MAX_ELEMENTS} nodes", limit="MAX_ELEMENTS")
        if self._depth > 64:
            raise CorruptData("The scene is nested too deeply")
        kept = {key: value for key, value in attributes.items() if self._harmless(key, value)}
        written = "".join(f' {key}="{escaped(value)}"' for key, value in kept.items())
        self.text.append(f"<{name}{written}>")

    def end(self, name: str) -> None:
        self._depth -= 1
        self.text.append(f"</{name}>")

    def data(self, text: str) -> None:
        self.text.append(escaped(text))

    def doctype(self, *_: object) -> None:
        raise CorruptData("A scene with entities of its own is not read")

    def _harmless(self, key: str, value: str) -> bool:
        if ADDRESS.match(key) and value:
            self._file.messages.append(f"The scene names a remote file, which is not fetched: {value[:100]}")
            return False
        if FILE.match(key) and value:
            found = self._file.limits.beside
            if found is None:
                raise Forbidden("The scene names files, and none may be read")
            # As MRML does: names are percent-encoded.
            self.named.append(_beside(self._path, unquote(value), self._file))
        if not (bearable := is_bearable(key, value)):
            self._file.messages.append(f"{key[:50]} of the scene is no number that can be used; it is passed over")
        return bearable


def _beside(path: Path, name: str, file: Wanted) -> Path:
    if Path(name).is_absolute():
        # Bundles of old versions hold the place they were written at; none of ours is told that way.
        raise Forbidden("The scene names a file by an absolute path")
    return places.beside(path, name, file.roots)


def _cleaned(file: Wanted, path: Path) -> str:
    if path.stat().st_size > MAX_SCENE:
        raise LimitExceeded("The text of the scene is larger than 64 MiB", limit="MAX_SCENE")
    scene = _Scene(file, path)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = scene.start
    parser.EndElementHandler = scene.end
    parser.CharacterDataHandler = scene.data
    parser.StartDoctypeDeclHandler = scene.doctype
    try:
        parser.Parse(path.read_bytes(), True)  # noqa: FBT003 - isfinal has no other spelling
    except expat.ExpatError as error:
        raise CorruptData(f"Failed to load node from file: {path.name}. It is no XML: {error}") from error
    _look_at(file, scene.named)
    return "".join(scene.text)


def _look_at(file: Wanted, named: Iterable[Path]) -> None:
    for path in dict.fromkeys(named):
        if not path.is_file():
            file.messages.append(f"The scene names a file that is not there: {path.name}")
            continue
        try:
            beside = partial(places.beside, path, roots=file.roots)  # headers name files from where they lie
            before.check_any(path, Limits(file.limits.voxels, beside))
        except MicrotomeError as error:
            raise type_with(error, f"{path.name}: {error.message}") from error


def type_with(error: MicrotomeError, message: str) -> MicrotomeError:
    """The same kind of error about a file inside a scene."""
    if isinstance(error, LimitExceeded):
        return LimitExceeded(message, limit=error.limit, value=error.value)
    return Forbidden(message) if isinstance(error, Forbidden) else CorruptData(message)


def _forget_files(application: Application, nodes: list[Any], folder: Path) -> None:
    """The bundle is unpacked no more: its nodes came from no file."""
    for node in nodes:
        if node.IsA("vtkMRMLStorageNode") and str(folder) in (node.GetFileName() or ""):
            node.ResetFileNameList()
            node.SetFileName("")


def save_scene(application: Application, call: SaveScene) -> Parts[File]:
    """Write everything. Data is packed, and the bundle made, outside of the scene's thread."""
    own = call.path is None
    if call.path is not None:
        path = places.writable(call.path, application.options.roots)
    else:
        path = Path(tempfile.mkdtemp(dir=application.folder)) / (Path(call.file_name).name or "scene.mrb")
    folder = Path(tempfile.mkdtemp(dir=application.folder, prefix="bundle-"))
    try:
        packing = _write_plain(application, folder / path.stem)
        make = lay_out if path.suffix.lower() == ".mrml" else _bundle

        def finish() -> None:
            _packed(folder, packing)
            make(folder, path)

        yield from outside(finish)
    except BaseException:
        if own:
            shutil.rmtree(path.parent, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return File(str(path), path.name, _MEDIA_TYPES.get(path.suffix.lower(), _BUNDLE))


def _write_plain(application: Application, folder: Path) -> list[str]:
    """Write the scene into a folder, voxels not packed; ids of the storages that pack them.

    Raises StorageUnavailable.
    """
    packing = list(_packing(application.scene))
    messages = slicer.vtkMRMLMessageCollection()
    folder.mkdir()
    try:
        for node in packing:
            node.SetDisableModifiedEvent(1)  # saving a scene is no change of it
            node.SetUseCompression(0)
        done = application.scene.SaveSceneToSlicerDataBundleDirectory(str(folder), None, messages)
    finally:
        for node in packing:
            node.SetUseCompression(1)
            node.SetDisableModifiedEvent(0)
        application.overlook()
    if not done or not any(folder.glob("*.mrml")):
        told = "; ".join(_told(messages, folder)[:3])
        raise StorageUnavailable("The scene could not be written" + (f": {told}" if told else ""), permanent=True)
    return [node.GetID() for node in packing]


def _packing(scene: Any) -> Iterator[Any]:
    """The storages of voxels that are packed, made where there are none: saving makes them, too."""
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    for node in nodes:
        if any(node.IsA(kind) for kind in _OF_VOXELS) and (node.GetStorageNode() or node.AddDefaultStorageNode()):
            storage = node.GetStorageNode()
            if storage.GetUseCompression() and (storage.GetFileName() or ".nrrd").lower().endswith(".nrrd"):
                yield storage


def _packed(folder: Path, packing: list[str]) -> None:
    """Pack the voxels in the one folder that lies in ``folder``."""
    aside = folder / "packed"
    for plain in folder.rglob("*.nrrd"):
        packed.pack_nrrd(plain, aside)
        aside.replace(plain)
    for scene in folder.glob("*/*.mrml"):
        text = scene.read_bytes()
        for name in packing:
            tag = rb'(<[^<>]*\bid="%b"[^<>]*\buseCompression=")0"' % re.escape(name.encode())
            text = re.sub(tag, rb'\g<1>1"', text, count=1)
        scene.write_bytes(text)


def _bundle(folder: Path, path: Path) -> None:
    """Everything in a folder together."""
    with in_place(path) as made, zipfile.ZipFile(made, "w", strict_timestamps=False) as archive:
        for found in sorted(folder.rglob("*")):
            archive.write(found, found.relative_to(folder))
