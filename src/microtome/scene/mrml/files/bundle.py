"""Whole scenes: .mrml with the files it names, and .mrb, which is a zip of both.

Before MRML sees a scene, its text is read here: files it names must lie beside it, nothing is fetched, and headers of
volumes among them are looked at. A bundle is unpacked here too, with bounds.
"""

from __future__ import annotations

import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.parsers import expat

from microtome.errors import CorruptData, Forbidden, LimitExceeded, MicrotomeError, StorageUnavailable
from microtome.scene import places
from microtome.scene.calls.base import File
from microtome.scene.calls.files import SaveScene
from microtome.scene.images import Limits
from microtome.scene.mrml import volumes
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.files import before
from microtome.scene.mrml.files.readers import Wanted, failed, ids_of, new_since
from microtome.scene.mrml.library import slicer

MAX_ENTRIES = 20_000
MAX_SCENE = 64 << 20
MAX_RATIO = 1100
BYTES_OF_A_VOXEL = 16
_FILE = re.compile(r"^(?:fileName|fileListMember[0-9]*|cacheFileName|directory)$", re.IGNORECASE)
_ADDRESS = re.compile(r"^uri(?:ListMember[0-9]*)?$", re.IGNORECASE)
_WRITTEN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;"})
_MEDIA_TYPE = "application/x-slicer-mrb"


def read_scene(application: Application, file: Wanted) -> list[Any]:
    """The nodes of a scene, added to those that are there, or alone (property ``clear``).

    Raises Forbidden (a scene that reaches out of its folder), CorruptData, LimitExceeded.
    """
    if not zipfile.is_zipfile(file.path):
        return _import(application, file, file.path)
    folder = Path(tempfile.mkdtemp(dir=application.folder, prefix="bundle-"))
    try:
        unpack(file.path, folder, file.limits.voxels * BYTES_OF_A_VOXEL)
        scenes = sorted(folder.rglob("*.mrml"), key=lambda path: (len(path.parts), path.name))
        if not scenes:
            raise CorruptData("The bundle holds no scene (.mrml)")
        nodes = _import(application, file, scenes[0])
        _forget_files(application, nodes, folder)
        return nodes
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _import(application: Application, file: Wanted, path: Path) -> list[Any]:
    """Add the nodes of a scene file once everything it names has been looked at."""
    cleaned = _cleaned(file, path)
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
    shown = [node for node in nodes if node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is not None]
    if shown and application.logic.GetSelectionNode().GetActiveVolumeID() is None and file.flag("show", default=True):
        volumes.show(application, shown[0])
    nodes.sort(key=lambda node: not (node.IsA("vtkMRMLDisplayableNode") and not node.GetHideFromEditors()))
    return nodes


def _told(messages: Any, path: Path) -> list[str]:
    texts = [str(messages.GetNthMessageText(number)) for number in range(min(messages.GetNumberOfMessages(), 50))]
    return [text.split(" [vtk")[0].replace(f"{path.parent}/", "")[:300].strip() for text in texts]


class _Scene:
    """The text of a scene, written again without what reaches out of it."""

    def __init__(self, file: Wanted, path: Path) -> None:
        self._file = file
        self._path = path
        self._depth = 0
        self.text: list[str] = ['<?xml version="1.0" encoding="UTF-8"?>\n']
        self.named: list[Path] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > 64:
            raise CorruptData("The scene is nested too deeply")
        kept = {key: value for key, value in attributes.items() if self._harmless(key, value)}
        written = "".join(f' {key}="{_escaped(value)}"' for key, value in kept.items())
        self.text.append(f"<{name}{written}>")

    def end(self, name: str) -> None:
        self._depth -= 1
        self.text.append(f"</{name}>")

    def data(self, text: str) -> None:
        self.text.append(_escaped(text))

    def doctype(self, *_: object) -> None:
        raise CorruptData("A scene with entities of its own is not read")

    def _harmless(self, key: str, value: str) -> bool:
        if _ADDRESS.match(key) and value:
            self._file.messages.append(f"The scene names a remote file, which is not fetched: {value[:100]}")
            return False
        if _FILE.match(key) and value:
            found = self._file.limits.beside
            if found is None:
                raise Forbidden("The scene names files, and none may be read")
            # As MRML does: names are percent-encoded.
            self.named.append(_beside(self._path, unquote(value), self._file))
        return True


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


def _escaped(text: str) -> str:
    for plain, written in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ('"', "&quot;"),
        ("\n", "&#10;"),
        ("\r", "&#13;"),
    ):
        text = text.replace(plain, written)
    return text


def _forget_files(application: Application, nodes: list[Any], folder: Path) -> None:
    """The bundle is unpacked no more: its nodes came from no file."""
    for node in nodes:
        if node.IsA("vtkMRMLStorageNode") and str(folder) in (node.GetFileName() or ""):
            node.ResetFileNameList()
            node.SetFileName("")


def save_scene(application: Application, call: SaveScene) -> File:
    """Write everything into a bundle."""
    if call.path is not None:
        path = places.writable(call.path, application.options.roots)
    else:
        path = Path(tempfile.mkdtemp(dir=application.folder)) / (Path(call.file_name).name or "scene.mrb")
    messages = slicer.vtkMRMLMessageCollection()
    if not application.scene.WriteToMRB(str(path), None, messages) or not path.is_file():
        told = "; ".join(_told(messages, path)[:3])
        raise StorageUnavailable("The scene could not be written" + (f": {told}" if told else ""), permanent=True)
    return File(str(path), path.name, _MEDIA_TYPE)
