"""glTF 2.0: triangles out of .glb and .gltf, and into .glb (Khronos, glTF 2.0 Specification §3, §4.4)."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import orjson

from microtome.errors import CorruptData, UnsupportedFormat

MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_TRIANGLES = 4
MAX_DEPTH = 64
MAX_MESHES = 100_000
MAX_POINTS = 1 << 26
"""Of all meshes together: a mesh may be shown at many places."""

Points = npt.NDArray[np.float64]
Faces = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """``points`` (n, 3) in the coordinates of the file; ``faces`` (m, 3). ``color``: red, green, blue, alpha 0..1."""

    points: Points
    faces: Faces
    name: str = ""
    color: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 1.0)
    normals: npt.NDArray[np.float32] | None = None


def read(data: bytes) -> Mesh:
    """All triangles of a file as one mesh, placed by its nodes. Raises CorruptData, UnsupportedFormat."""
    try:
        return _Document(data).mesh()
    except (KeyError, IndexError, TypeError, ValueError, struct.error, binascii.Error) as error:
        raise CorruptData("The glTF contradicts itself") from error


class _Document:
    def __init__(self, data: bytes) -> None:
        text, self._binary = data, b""
        if data[:4] == b"glTF":
            text, self._binary = _chunks(data)
        try:
            found: object = orjson.loads(text)
        except ValueError as error:
            raise CorruptData("The glTF holds no JSON") from error
        if not isinstance(found, dict):
            raise CorruptData("The glTF holds no object")
        self._root = cast("dict[str, Any]", found)
        if needed := self._root.get("extensionsRequired"):
            raise UnsupportedFormat(f"The glTF needs extensions: {str(needed)[:100]}", feature="glTF extension")
        self._parts: list[tuple[Points, Faces]] = []
        self._visited: set[int] = set()
        self._left = MAX_POINTS
        self._buffers: dict[int, bytes] = {}

    def mesh(self) -> Mesh:
        nodes = self._root.get("nodes", [])
        scenes = self._root.get("scenes", [])
        roots = scenes[self._root.get("scene", 0)].get("nodes", []) if scenes else range(len(nodes))
        for node in roots:
            self._visit(int(node), np.eye(4), 0)
        if not self._parts:
            raise CorruptData("The glTF holds no triangles")
        offsets = np.cumsum([0, *(len(points) for points, _ in self._parts)])
        faces = [part[1] + offset for part, offset in zip(self._parts, offsets, strict=False)]
        return Mesh(np.concatenate([points for points, _ in self._parts]), np.concatenate(faces))

    def _visit(self, index: int, above: npt.NDArray[np.float64], depth: int) -> None:
        if depth > MAX_DEPTH or len(self._parts) > MAX_MESHES or index < 0:
            raise CorruptData("The nodes of the glTF are nested too deeply, or there are too many")
        if index in self._visited:
            raise CorruptData("The nodes of the glTF are no trees: one is named twice (§3.5.3)")
        self._visited.add(index)
        node = self._root["nodes"][index]
        matrix = above @ _matrix(node)
        if "mesh" in node:
            for primitive in self._root["meshes"][node["mesh"]]["primitives"]:
                if primitive.get("mode", _TRIANGLES) == _TRIANGLES:
                    points, faces = self._triangles(primitive, matrix)
                    self._left -= len(points) + len(faces)
                    if self._left < 0:
                        raise UnsupportedFormat(f"The glTF shows more than {MAX_POINTS} points", feature="glTF")
                    self._parts.append((points, faces))
        for child in node.get("children", []):
            self._visit(int(child), matrix, depth + 1)

    def _triangles(self, primitive: dict[str, Any], matrix: npt.NDArray[np.float64]) -> tuple[Points, Faces]:
        points = self._values(primitive["attributes"]["POSITION"]).astype(np.float64)
        if points.shape[1] != 3:
            raise CorruptData("A position has three numbers")
        if "indices" in primitive:
            indices = self._values(primitive["indices"]).astype(np.int64).ravel()
        else:
            indices = np.arange(len(points))
        if len(indices) % 3 or (len(indices) and not 0 <= indices.min() <= indices.max() < len(points)):
            raise CorruptData("The triangles name points that are not there")
        return points @ matrix[:3, :3].T + matrix[:3, 3], indices.reshape(-1, 3)

    def _values(self, index: int) -> npt.NDArray[Any]:
        """An accessor, (count, width)."""
        accessor = self._root["accessors"][index]
        if "sparse" in accessor or "bufferView" not in accessor:
            raise UnsupportedFormat("Sparse accessors of glTF are not read", feature="glTF sparse")
        view = self._root["bufferViews"][accessor["bufferView"]]
        dtype, width, count = np.dtype(_TYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]], accessor["count"]
        item = dtype.itemsize * width
        stride, start = view.get("byteStride", item), view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        data = self._buffer(view["buffer"])
        if not 0 < count <= len(data) or start < 0 or stride < item or start + stride * (count - 1) + item > len(data):
            raise CorruptData("The glTF promises more numbers than it has")
        array = np.ndarray((count, width), dtype, data, start, (stride, dtype.itemsize))
        if accessor.get("normalized") and dtype.kind != "f":
            return array / np.iinfo(dtype).max
        return array

    def _buffer(self, index: int) -> bytes:
        address = self._root["buffers"][index].get("uri")
        if address is None:
            return self._binary
        if index not in self._buffers:
            head, _, text = str(address).partition(";base64,")
            if not head.startswith("data:"):
                raise UnsupportedFormat("Buffers of glTF in files of their own are not read", feature="glTF buffer")
            self._buffers[index] = base64.b64decode(text, validate=True)
        return self._buffers[index]


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    """JSON and binary chunk (§4.4.3)."""
    _, version, length = struct.unpack_from("<III", data)
    if version != 2 or length > len(data):
        raise CorruptData("The .glb is cut off, or not of version 2")
    size, kind = struct.unpack_from("<II", data, 12)
    if kind != _JSON or 20 + size > length:
        raise CorruptData("The .glb begins with no JSON")
    at = 20 + size
    if at + 8 > length:
        return data[20:at], b""
    binary, kind = struct.unpack_from("<II", data, at)
    return data[20:at], data[at + 8 : at + 8 + binary] if kind == _BIN else b""


def _matrix(node: dict[str, Any]) -> npt.NDArray[np.float64]:
    """Of a node, out of ``matrix`` (column after column) or translation, rotation (x y z w) and scale."""
    if "matrix" in node:
        return np.reshape(np.asarray(node["matrix"], np.float64), (4, 4)).T
    made = np.eye(4)
    x, y, z, w = (float(value) for value in node.get("rotation", (0, 0, 0, 1)))
    made[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    made[:3, :3] *= np.asarray(node.get("scale", (1, 1, 1)), np.float64)
    made[:3, 3] = node.get("translation", (0, 0, 0))
    return made


def write(meshes: Sequence[Mesh]) -> bytes:
    """A .glb with one node for each mesh, in the coordinates given."""
    binary = bytearray()
    root: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "microtome"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(meshes)))}],
        "nodes": [{"mesh": index, "name": mesh.name} for index, mesh in enumerate(meshes)],
        "meshes": [],
        "materials": [],
        "accessors": [],
        "bufferViews": [],
        "buffers": [],
    }
    for index, mesh in enumerate(meshes):
        points = mesh.points.astype("<f4")
        attributes = {"POSITION": _append(root, binary, points, "VEC3", 34962)}
        root["accessors"][-1] |= {"min": points.min(0).tolist(), "max": points.max(0).tolist()}
        if mesh.normals is not None:
            attributes["NORMAL"] = _append(root, binary, mesh.normals.astype("<f4"), "VEC3", 34962)
        indices = _append(root, binary, mesh.faces.astype("<u4").reshape(-1, 1), "SCALAR", 34963)
        root["meshes"].append(
            {"name": mesh.name, "primitives": [{"attributes": attributes, "indices": indices, "material": index}]}
        )
        root["materials"].append(
            {
                "name": mesh.name,
                "doubleSided": True,
                "alphaMode": "OPAQUE" if mesh.color[3] >= 1 else "BLEND",
                "pbrMetallicRoughness": {
                    "baseColorFactor": list(mesh.color),
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.7,
                },
            }
        )
    root["buffers"].append({"byteLength": len(binary)})
    text = orjson.dumps(root)
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    head = struct.pack("<IIIII", MAGIC, 2, length, len(text), _JSON)
    return head + text + struct.pack("<II", len(binary), _BIN) + bytes(binary)


def _append(root: dict[str, Any], binary: bytearray, values: npt.NDArray[Any], kind: str, target: int) -> int:
    data = values.tobytes()
    root["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(data), "target": target})
    code = 5126 if values.dtype.kind == "f" else 5125
    root["accessors"].append(
        {"bufferView": len(root["bufferViews"]) - 1, "componentType": code, "count": len(values), "type": kind}
    )
    binary += data + b"\0" * (-len(data) % 4)
    return len(root["accessors"]) - 1
