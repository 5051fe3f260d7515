"""Vectors and tensors in slices: the picture that 3D Slicer makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtome.scene.answers import at_once
from microtome.scene.calls.files import LoadFile
from microtome.scene.calls.slices import SetLayers
from tests.scene.scenes import blend
from tests.scene.test_slices import shown

SHAPE = (20, 32, 32)


def tensors() -> np.ndarray:
    """Mask and six numbers of tensors (k, j, i, 7) that point elsewhere everywhere, more and more pronounced."""
    k, j, i = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1], 0 : SHAPE[2]]
    about, up = (i + j) / 10.0, k / 5.0
    along = np.stack([np.cos(about) * np.cos(up), np.sin(about) * np.cos(up), np.sin(up)], -1)
    found = 0.4 * np.eye(3) + 1.2 * (j[..., None, None] / SHAPE[1]) * along[..., :, None] * along[..., None, :]
    numbers = 1e-3 * found.reshape(*SHAPE, 9)[..., [0, 1, 2, 4, 5, 8]]
    return np.concatenate([np.ones((*SHAPE, 1)), numbers], -1).astype(np.float32)


@pytest.fixture
def node(application: Any, tmp_path: Path) -> Any:
    """Tensors from a file, in the red view."""
    from microtome.scene.mrml.files.load import load_file

    file = Path(application.folder) / "tensors.nrrd"
    header = (
        "NRRD0005\ntype: float\ndimension: 4\nspace: right-anterior-superior\nsizes: 7 32 32 20\n"
        "space directions: none (4,0,0) (0,4,0) (0,0,4)\nkinds: 3D-masked-symmetric-matrix domain domain domain\n"
        "endian: little\nencoding: raw\nspace origin: (-62,-62,-38)\n"
        "measurement frame: (0.8,0.6,0) (-0.6,0.8,0) (0,0,1)\n\n"
    )
    file.write_bytes(header.encode() + tensors().tobytes())
    loaded = at_once(load_file(application, LoadFile(path=str(file), file_type="VolumeFile", name="tensors")))
    found = application.scene.GetNodeByID(loaded.ids[0])
    from microtome.scene.mrml.slices import set_layers

    set_layers(application, SetLayers(background=found.GetID()))
    application.slice_logics["Red"].FitSliceToAll()
    return found


@pytest.mark.parametrize("invariant", ["ColorOrientation", "FractionalAnisotropy", "Trace", "LinearMeasure"])
def test_tensors_are_shown_as_what_their_display_measures(application: Any, node: Any, invariant: str) -> None:
    """Of all voxels, then interpolated; Slicer interpolates tensors first: the same but for small differences."""
    from microtome.scene.mrml.library import slicer

    assert node.GetClassName() == "vtkMRMLDiffusionTensorVolumeNode"
    node.GetDisplayNode().SetScalarInvariant(getattr(slicer.vtkMRMLDiffusionTensorDisplayPropertiesNode, invariant))
    oracle, ours = blend(application, "Red")[..., :3].astype(int), shown(application)[..., :3].astype(int)
    assert ours.std() > 20
    difference = np.abs(oracle - ours).max(2)
    assert np.median(difference) <= 6
    assert (difference <= 30).mean() > 0.95
