"""Every command of the compatible API by the beginning of its path. The longest beginning that fits is taken."""

from __future__ import annotations

from microtome.api.slicer.context import Handler
from microtome.api.slicer.gui import gui, sampledata, timeimage, tracking, volume_selection
from microtome.api.slicer.mrml import mrml
from microtome.api.slicer.pictures import screenshot, slice_picture, threed_graphics, threed_picture
from microtome.api.slicer.scripts import execute
from microtome.api.slicer.studies import access_study, open_url
from microtome.api.slicer.system import system
from microtome.api.slicer.volumes import (
    fiducial,
    fiducials,
    grid_transform,
    grid_transforms,
    segmentation,
    segmentations,
    volume,
    volumes,
)

COMMANDS: dict[str, Handler] = {
    "/exec": execute,
    "/timeimage": timeimage,
    "/system": system,
    "/gui": gui,
    "/mrml": mrml,
    "/tracking": tracking,
    "/sampledata": sampledata,
    "/volumeSelection": volume_selection,
    "/accessDICOMwebStudy": access_study,
    "/open": open_url,
    "/volumes": volumes,
    "/volume": volume,
    "/gridTransforms": grid_transforms,
    "/gridtransforms": grid_transforms,
    "/gridTransform": grid_transform,
    "/gridtransform": grid_transform,
    "/griddtransform": grid_transform,
    "/fiducials": fiducials,
    "/fiducial": fiducial,
    "/segmentations": segmentations,
    "/segmentation": segmentation,
    "/screenshot": screenshot,
    "/slice": slice_picture,
    "/threeD": threed_picture,
    "/threeDGraphics": threed_graphics,
}
