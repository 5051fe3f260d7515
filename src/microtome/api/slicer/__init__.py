"""The API of 3D Slicer's WebServer below ``/slicer``, and the safe API of the same scene below ``/scene/v1``."""

from microtome.api.slicer.context import SlicerContext
from microtome.api.slicer.guard import Guard
from microtome.api.slicer.mount import mount_slicer

__all__ = ["Guard", "SlicerContext", "mount_slicer"]
