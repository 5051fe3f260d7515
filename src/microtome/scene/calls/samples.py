"""Questions about sample data: generated, so that they are there without a network."""

from __future__ import annotations

from microtome.scene.calls.base import Call
from microtome.scene.calls.files import Loaded

SAMPLES: dict[str, str] = {
    "MRHead": "head",
    "MRBrainTumor1": "head",
    "MRBrainTumor2": "head",
    "BaselineVolume": "head",
    "CTChest": "chest",
    "CTACardio": "chest",
    "CTLiver": "chest",
    "CTAAbdomenPanoramix": "chest",
    "CTMRBrain": "head",
    "CBCTMRHead": "head",
    "Markups": "markups",
}
"""Names of the original's sample data, and which of ours stands for it. ``head``: an MR-like volume of 256 x 256 x 130
voxels; ``chest``: a CT-like volume and a segmentation of seven organs; ``markups``: points, a line, an angle, a curve,
a plane and a region on the head."""


class LoadSample(Call[Loaded], frozen=True, kw_only=True):
    """Make the sample data of a name and show them; the same every time. Raises NotFound."""

    name: str
