"""Writes nodes into files. The nodes keep the storage they have: what is written is a copy."""

from __future__ import annotations

import tempfile
from pathlib import Path

from microtome.errors import InvalidRequest, StorageUnavailable
from microtome.scene import places
from microtome.scene.calls.base import File
from microtome.scene.calls.files import SaveNode
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.nodes import some


def save_node(application: Application, call: SaveNode) -> File:
    """Write one node."""
    found = some(application, call.nodes)
    if len(found) > 1:
        raise InvalidRequest("/mrml/file can only be used for a single node", parameter="nodes")
    node = found[0]
    if call.path is not None:
        path = places.writable(call.path, application.options.roots)
    else:
        path = Path(tempfile.mkdtemp(dir=application.folder)) / (call.file_name or "node.nrrd")
    storage = application.scene.CreateNodeByClass(node.GetDefaultStorageNodeClassName(str(path)))
    storage.UnRegister(None)
    storage.SetFileName(str(path))
    if not storage.WriteData(node):
        raise StorageUnavailable("The file could not be written")
    return File(str(path), path.name)
