"""Nodes as they were, to be brought back: small ones as copies, large ones by reference to the data they held.

A reference is enough because data is replaced by those who change it; who writes into what a node holds gives the node
data of its own before (``detach``), so that what is kept stays as it was.

Segments are kept without a vtkSegmentation: one that ends, or gives a segment away, wipes that segment's voxels out of
the labelmap that it shares with others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from microtome.scene.mrml.arrays import matrix_of
from microtome.scene.mrml.library import slicer, vtk_math

_SMALL = ("vtkMRMLMarkupsNode", "vtkMRMLLinearTransformNode", "vtkMRMLDisplayNode", "vtkMRMLSliceCompositeNode",
          "vtkMRMLSelectionNode", "vtkMRMLTextNode", "vtkMRMLTableNode", "vtkMRMLVolumePropertyNode")  # fmt: skip
"""Nodes small enough to be copied at each change."""
_LARGE = ("vtkMRMLVolumeNode", "vtkMRMLModelNode", "vtkMRMLTransformNode")
"""Nodes whose copies can share their data."""
_HELD = (("vtkMRMLVolumeNode", "GetImageData"), ("vtkMRMLModelNode", "GetMesh"), ("vtkMRMLTableNode", "GetTable"))
_SEGMENTATION = "vtkMRMLSegmentationNode"
_KIB = 1024
_DEEPEST = 16
"""Transforms within transforms are followed so far."""

Segments = tuple[tuple[str, Any], ...]
"""Segments by their ids."""
Sizes = dict[str, int]
"""Bytes of data by its address: what several nodes hold counts once."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A node as it was: ``node`` is a copy, without ``segments``.

    ``state`` is equal where nothing of a large node differs; None of a small one. ``sizes``: of what is held.
    """

    node: Any
    state: tuple[object, ...] | None
    sizes: Sizes
    segments: Segments = ()
    deep: bool = False


def kept(node: Any, *, deep: bool = False) -> Kept:
    """Keep a node. ``deep``: with copies of its data, where somebody is about to write into it."""
    if is_small(node):
        copy = _empty(node)
        copy.SetDisableModifiedEvent(1)  # the display of a volume would count its voxels when it is told that it is new
        copy.Copy(node)
        return Kept(copy, None, sizes_of(copy))
    state, copy = state_of(node), _empty(node)
    _basics(node, copy)
    if node.IsA(_SEGMENTATION):
        segments = _kept_segments(node.GetSegmentation(), deep=deep)
        _describe(node.GetSegmentation(), copy.GetSegmentation())
        return Kept(copy, state, _sizes(_data_of_segments(segments)), segments, deep)
    if _is_large(node):
        copy.CopyContent(node, deep)
    return Kept(copy, state, sizes_of(copy), deep=deep)


def bring_back(node: Any, was: Kept) -> None:
    """Make a node what it was. What is kept is not touched by what happens to the node afterwards."""
    if was.state is None:
        node.Copy(was.node)
        return
    before = node.StartModify()
    try:
        _basics(was.node, node)
        if node.IsA(_SEGMENTATION):
            segmentation = slicer.vtkSegmentation()
            _describe(was.node.GetSegmentation(), segmentation)
            for segment_id, segment in was.segments:
                segmentation.AddSegment(_shared(segment), segment_id)
            replace_segments(node, segmentation)
        elif _is_large(node):
            node.CopyContent(was.node, False)  # noqa: FBT003 - not deep; VTK knows no keywords
    finally:
        node.EndModify(before)


def detach(node: Any) -> None:
    """Give a node copies of the data that is about to be written into: surfaces and segments."""
    if node.IsA("vtkMRMLModelNode") and node.GetMesh() is not None:
        mesh = node.GetMesh().NewInstance()
        mesh.DeepCopy(node.GetMesh())
        node.SetAndObserveMesh(mesh)
    elif node.IsA(_SEGMENTATION):
        segmentation = slicer.vtkSegmentation()
        segmentation.DeepCopy(node.GetSegmentation())
        replace_segments(node, segmentation)


def is_small(node: Any) -> bool:
    """Whether a node is copied whole."""
    if any(node.IsA(kind) for kind in _SMALL):
        return True
    return bool(node.IsA("vtkMRMLTransformNode") and node.IsLinear())


def state_of(node: Any) -> tuple[object, ...]:
    """What a change of a large node is a change of: which data it has, in which version, under which transform."""
    roles = [node.GetNthNodeReferenceRole(index) for index in range(node.GetNumberOfNodeReferenceRoles())]
    references = tuple(
        (role, tuple(node.GetNthNodeReferenceID(role, index) for index in range(node.GetNumberOfNodeReferences(role))))
        for role in roles
        if role != "storage"  # comes and goes with files
    )
    found: list[object] = [node.GetName(), node.GetDescription(), node.GetHideFromEditors(), _attributes(node)]
    found += [each for each in references if any(each[1])]
    if node.IsA(_SEGMENTATION):
        source = node.GetSegmentation().GetSourceRepresentationName()
        return (*found, source, *(_described(*each, source) for each in _segments(node.GetSegmentation())))
    if node.IsA("vtkMRMLVolumeNode"):
        matrix = vtk_math.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        found.append(tuple(matrix_of(matrix).ravel()))
    elif node.IsA("vtkMRMLTransformNode"):
        found += [_address(each) for each in (node.GetTransformToParent(), node.GetTransformFromParent())]
    return (*found, *((_address(data), data.GetMTime()) for data in _data(node)))


def sizes_of(node: Any) -> Sizes:
    """What a node holds."""
    found = _sizes(_data(node))
    if node.IsA("vtkMRMLTextNode"):
        found[_address(node)] = len(node.GetText() or "")
    if node.IsA("vtkMRMLSequenceNode"):
        for index in range(node.GetNumberOfDataNodes()):
            found |= sizes_of(node.GetNthDataNode(index))
    return found


def _sizes(data: Iterator[Any]) -> Sizes:
    return {_address(each): int(each.GetActualMemorySize()) * _KIB for each in data}


def _data(node: Any) -> Iterator[Any]:
    """The objects of VTK that hold most of what a node holds."""
    if node.IsA(_SEGMENTATION):
        yield from _data_of_segments(_segments(node.GetSegmentation()))
    elif node.IsA("vtkMRMLTransformNode"):
        for transform in (node.GetTransformToParent(), node.GetTransformFromParent()):
            yield from _grids(transform)
    for kind, method in _HELD:
        data = getattr(node, method)() if node.IsA(kind) else None
        if data is not None:
            yield data


def _grids(transform: Any, depth: int = 0) -> Iterator[Any]:
    """Displacements and coefficients of a transform and those it is made of."""
    if transform is None or depth > _DEEPEST:
        return
    for method in ("GetDisplacementGrid", "GetCoefficientData"):
        data = getattr(transform, method, lambda: None)()
        if data is not None:
            yield data
    if transform.IsA("vtkGeneralTransform"):
        for index in range(transform.GetNumberOfConcatenatedTransforms()):
            yield from _grids(transform.GetConcatenatedTransform(index), depth + 1)


def _segments(segmentation: Any) -> Segments:
    numbers = range(segmentation.GetNumberOfSegments())
    return tuple((segmentation.GetNthSegmentID(number), segmentation.GetNthSegment(number)) for number in numbers)


def _data_of_segments(segments: Segments) -> Iterator[Any]:
    for _, segment in segments:
        yield from (data for _, data in _representations(segment))


def _representations(segment: Any) -> list[tuple[str, Any]]:
    names: list[str] = []
    segment.GetContainedRepresentationNames(names)
    return [(name, segment.GetRepresentation(name)) for name in names]


def _described(segment_id: str, segment: Any, source: str) -> tuple[object, ...]:
    """A segment without what is made of it when it is looked at."""
    data = segment.GetRepresentation(source)
    held = None if data is None else (_address(data), data.GetMTime())
    return segment_id, segment.GetName(), segment.GetColor(), segment.GetLabelValue(), held


def _kept_segments(segmentation: Any, *, deep: bool) -> Segments:
    if not deep:
        return tuple((segment_id, _shared(segment)) for segment_id, segment in _segments(segmentation))
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    found = _kept_segments(copy, deep=False)
    _let_go(copy)
    return found


def _shared(segment: Any) -> Any:
    """A segment that shares its data with another."""
    found = slicer.vtkSegment()
    found.DeepCopyMetadata(segment)
    for name, data in _representations(segment):
        found.AddRepresentation(name, data)
    return found


def replace_segments(node: Any, segmentation: Any) -> None:
    """Give a segmentation node other segments; what is kept of the old ones stays as it was."""
    old = node.GetSegmentation()
    node.SetAndObserveSegmentation(segmentation)
    _let_go(old)


def _let_go(segmentation: Any) -> None:
    """Of the data of all segments, which others hold: see above."""
    for _, segment in _segments(segmentation):
        segment.RemoveAllRepresentations()


def _describe(source: Any, target: Any) -> None:
    """What a segmentation is without segments."""
    target.SetSourceRepresentationName(source.GetSourceRepresentationName())
    target.CopyConversionParameters(source)


def _basics(source: Any, target: Any) -> None:
    """What every node has: name, attributes, references."""
    target.SetName(source.GetName())
    target.SetDescription(source.GetDescription())
    target.SetHideFromEditors(source.GetHideFromEditors())
    wanted = dict(_attributes(source))
    for name in {*dict(_attributes(target)), *wanted}:
        target.SetAttribute(name, wanted.get(name))
    target.CopyReferences(source)


def _attributes(node: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name, node.GetAttribute(name)) for name in node.GetAttributeNames())


def _is_large(node: Any) -> bool:
    return any(node.IsA(kind) for kind in _LARGE)


def _empty(node: Any) -> Any:
    return getattr(slicer, node.GetClassName())()


def _address(data: Any) -> str:
    return "" if data is None else data.GetAddressAsString("")
