"""The text of a scene (.mrml), with names of files in it that lie beside it and none of the server's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.parsers import expat

from microtome.errors import StorageUnavailable
from microtome.scene.calls.files import GetSceneText
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.exporting import file_name
from microtome.scene.mrml.files.save import in_place

FILE = re.compile(r"^(?:\w*fileName|fileListMember[0-9]*|cacheFileName|directory)$", re.IGNORECASE)
ADDRESS = re.compile(r"^uri(?:ListMember[0-9]*)?$", re.IGNORECASE)
"""Attributes that name files, and what is fetched."""
DATA = "Data"
"""The folder beside the text that bundles keep files in."""
_OF_SEGMENTS = "seg.nrrd"
"""The ending of files of segments, which their storage does not tell before it has written one."""
_MOST_FOLDERS = 1000
_WRITTEN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;"})

Attributes = dict[str, str]


def escaped(text: str) -> str:
    """Text of XML, of attributes too."""
    return text.translate(_WRITTEN)


def get_scene_text(application: Application, _: GetSceneText) -> bytes:
    """All nodes that are saved; the scene is left as it is."""
    scene = application.scene
    names, added, storages = _files_of(scene)
    scene.SetSaveToXMLString(1)
    try:
        scene.Commit()
        text: str = scene.GetSceneXMLString()
    finally:
        scene.SetSaveToXMLString(0)
        scene.SetSceneXMLString("")

    def changed(attributes: Attributes) -> Attributes:
        found = {key: value for key, value in attributes.items() if not FILE.match(key) and not ADDRESS.match(key)}
        node_id = attributes.get("id", "")
        if node_id in names:
            found["fileName"] = names[node_id]
        if node_id in added:
            found["storageNodeRef"] = added[node_id]
        return found

    return rewritten(text.encode(), changed, storages)


def lay_out(folder: Path, path: Path) -> None:
    """Put a scene that lies in the one folder below ``folder`` to ``path``, and its files into a new folder beside it.

    Raises StorageUnavailable.
    """
    (scene,) = folder.glob("*/*.mrml")
    beside: Path | None = None
    try:
        data = scene.parent / DATA
        if data.is_dir():
            beside = _new_folder(path)
            for each in data.iterdir():
                shutil.move(each, beside / each.name)
        place = "" if beside is None else f"{quote(beside.name)}/"

        def changed(attributes: Attributes) -> Attributes:
            return {
                key: place + value.removeprefix(f"{DATA}/")
                if FILE.match(key) and value.startswith(f"{DATA}/")
                else value
                for key, value in attributes.items()
            }

        text = rewritten(scene.read_bytes(), changed)
        with in_place(path) as made:
            made.write_bytes(text)
    except OSError as error:
        _remove(beside)
        raise StorageUnavailable(f"{path.name} could not be written", permanent=True) from error
    except BaseException:
        _remove(beside)
        raise


def _new_folder(path: Path) -> Path:
    for number in range(_MOST_FOLDERS):
        found = path.with_name(f"{path.stem}_{DATA}{f'_{number}' if number else ''}")
        with suppress(FileExistsError):
            found.mkdir()
            return found
    raise StorageUnavailable(f"There is no room beside {path.name} for its files", permanent=True)


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _files_of(scene: Any) -> tuple[dict[str, str], Attributes, list[str]]:
    """Names of files by ids of storages; storages by ids of nodes that have none yet; the elements of those."""
    names: dict[str, str] = {}
    added: dict[str, str] = {}
    elements: list[str] = []
    taken: set[str] = set()
    for node in _storable(scene):
        storage = node.GetStorageNode()
        if storage is None:
            storage = node.CreateDefaultStorageNode()
            if storage is None:
                continue
            storage.UnRegister(None)
            storage_id = f"{storage.GetClassName()}Of{node.GetID()}"
            added[node.GetID()] = storage_id
        else:
            storage_id = storage.GetID()
        ending = "." + (storage.GetDefaultWriteFileExtension() or _OF_SEGMENTS)
        names[storage_id] = f"{DATA}/{quote(_unique(node.GetName() or '', ending, taken))}"
        if node.GetID() in added:
            elements.append(
                f'<{storage.GetNodeTagName()} id="{escaped(storage_id)}" name="{escaped(storage.GetNodeTagName())}"'
                f' fileName="{escaped(names[storage_id])}" useCompression="1"></{storage.GetNodeTagName()}>\n'
            )
    return names, added, elements


def _storable(scene: Any) -> Iterator[Any]:
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if node.IsA("vtkMRMLStorableNode") and node.GetSaveWithScene():
            yield node


def _unique(name: str, ending: str, taken: set[str]) -> str:
    found, number = file_name(name, ending), 0
    while found in taken:
        number += 1
        found = file_name(name, f"_{number}{ending}")
    taken.add(found)
    return found


def rewritten(text: bytes, changed: Callable[[Attributes], Attributes], more: list[str] | None = None) -> bytes:
    """XML of ours with the attributes of all elements changed, and ``more`` elements at the begin of the root."""
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    waiting = list(more or ())

    def start(name: str, attributes: Attributes) -> None:
        told = "".join(f' {key}="{escaped(value)}"' for key, value in changed(attributes).items())
        parts.append(f"<{name}{told}>")
        parts.extend(waiting)
        waiting.clear()

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: parts.append(f"</{name}>")
    parser.CharacterDataHandler = lambda data: parts.append(escaped(data))
    parser.Parse(text, True)  # noqa: FBT003 - isfinal has no other spelling
    return "".join(parts).encode()
