"""Questions about files: reading them into the scene, writing nodes and whole scenes."""

from __future__ import annotations

import msgspec

from microtome.scene.calls.base import Call, File, Nodes

FILE_TYPES = (
    "VolumeFile",
    "SegmentationFile",
    "ModelFile",
    "MarkupsFile",
    "TransformFile",
    "TableFile",
    "TextFile",
    "SequenceFile",
    "ColorTableFile",
    "TransferFunctionFile",
    "SceneFile",
    "DicomFile",
)
"""What ``LoadFile.file_type`` may be: the original's names; ``DicomFile`` is a folder with a series, or one of it."""


class Loaded(msgspec.Struct, frozen=True):
    """The nodes that a file became, the foremost first, and what the reader had to say."""

    ids: list[str]
    messages: list[str] = msgspec.field(default_factory=list[str])


class LoadFile(Call[Loaded], frozen=True, kw_only=True):
    """Read a file or a folder of DICOM files.

    ``path``: absolute, inside a root of the scene or inside its own folder (an upload). ``file_type``: one of
    ``FILE_TYPES``, "" to go by the name. ``name``: of the node; "" for one made of the file's. ``properties``: the
    original's, as text: labelmap, center, singleFile, autoWindowLevel, discardOrientation, show, colorNodeID,
    autoOpacities, coordinateSystem, clear (SceneFile). Unknown ones are ignored.

    Raises Forbidden (outside of the roots), NotFound, InvalidRequest (no such type), UnsupportedFormat, CorruptData,
    LimitExceeded.
    """

    path: str
    file_type: str = ""
    name: str = ""
    properties: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class SaveNode(Call[File], frozen=True, kw_only=True):
    """Write the one selected node into a file whose ending says how.

    ``path``: inside a root of the scene; None for a file of the scene's own folder, called ``file_name`` (an ending
    alone, ".stl", takes the node's name), which the caller removes. ``properties``: useCompression, fileFormat,
    coordinateSystem. ``apply_transforms``: harden the node's transform in the copy that is written.

    Raises NotFound (no node), InvalidRequest (several nodes; an ending that the node cannot be written with),
    Forbidden (outside of the roots), StorageUnavailable (the disk).
    """

    nodes: Nodes = Nodes()
    path: str | None = None
    file_name: str = ""
    properties: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    apply_transforms: bool = False


class GetSceneText(Call[bytes], frozen=True, kw_only=True):
    """The text of the scene (MRML, XML in UTF-8): storages name files beside it that are not written, no others."""


class SaveScene(Call[File], frozen=True, kw_only=True):
    """Write the whole scene, inside a root or, ``path`` None, into the scene's own folder.

    A name that ends with .mrml makes a text with its data in a new folder beside it, any other a bundle (.mrb).
    Raises Forbidden, InvalidRequest, StorageUnavailable.
    """

    path: str | None = None
    file_name: str = "scene.mrb"
