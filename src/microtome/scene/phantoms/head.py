"""A head as a T1-weighted magnetic resonance image shows one: 256 x 256 x 130 voxels of 1 x 1 x 1.3 mm."""

from __future__ import annotations

import numpy as np

from microtome.scene.images import Image
from microtome.scene.phantoms.paint import Canvas, Triple

SIZE, SPACING = (256, 256, 130), (1.0, 1.0, 1.3)
BRAIN_CENTER, BRAIN_RADII = (0.0, -4.0, 18.0), (64.0, 80.0, 58.0)
LANDMARKS: dict[str, Triple] = {
    "Nasion": (0.0, 91.0, 4.0),
    "Left ear": (-76.0, -4.0, -8.0),
    "Right ear": (76.0, -4.0, -8.0),
    "Vertex": (0.0, -4.0, 83.0),
}
_FAT, _SKULL, _FLUID, _GREY, _WHITE, _MUSCLE, _AIR = 230.0, 22.0, 38.0, 96.0, 142.0, 88.0, 3.0


def head() -> Image:
    """The volume."""
    canvas = Canvas(SIZE, SPACING, 0.0)
    canvas.ellipsoid((0.0, -22.0, -70.0), (58.0, 64.0, 70.0), _MUSCLE, power=3.0, soft=3.0)  # neck
    canvas.ellipsoid((0.0, 30.0, -42.0), (58.0, 62.0, 58.0), _MUSCLE, power=2.6, soft=2.0)  # face
    canvas.ellipsoid((0.0, 92.0, -22.0), (11.0, 18.0, 22.0), _MUSCLE, soft=2.0)  # nose
    canvas.ellipsoid((0.0, -4.0, 6.0), (76.0, 95.0, 77.0), _FAT, power=2.2)
    canvas.ellipsoid((0.0, -4.0, 6.0), (71.0, 90.0, 73.0), _SKULL, power=2.2)
    canvas.ellipsoid((0.0, -4.0, 8.0), (66.5, 85.0, 69.0), _FLUID, power=2.2)
    _brain(canvas)
    _face(canvas)
    canvas.ellipsoid((0.0, -22.0, -55.0), (11.0, 11.0, 60.0), _WHITE - 8, soft=2.0)  # stem and cord
    return canvas.image(5.0, 20, lowest=0)


def _brain(canvas: Canvas) -> None:
    where = canvas.around(BRAIN_CENTER, BRAIN_RADII)
    right, anterior, superior = canvas.axes(where)
    distance = canvas.distance(where, BRAIN_CENTER, BRAIN_RADII, 2.2)
    # Waves across the surface are its folds: they move the borders of grey and white matter in and out.
    folds = np.sin(right / 3.4 + 1.6 * np.sin(superior / 9)) + np.sin(anterior / 3.7 + 1.6 * np.sin(right / 8))
    folds = folds + np.sin(superior / 3.5 + 1.6 * np.sin(anterior / 10))
    canvas.blend(where, distance + np.maximum(folds, 0) * np.float32(0.03), 58.0, _GREY, label=0, soft=1.5)
    canvas.blend(where, distance + np.float32(0.15) + folds * np.float32(0.05), 58.0, _WHITE, label=0, soft=1.5)
    between = np.maximum(np.maximum(np.abs(right) / 2, distance), (45 - superior) / 20)  # the halves
    canvas.blend(where, between, 2.0, _FLUID, label=0, soft=1.2)
    for side in (-1.0, 1.0):
        canvas.ellipsoid((side * 28.0, -56.0, -34.0), (30.0, 28.0, 22.0), _GREY + 12, soft=2.0)  # cerebellum
        canvas.ellipsoid((side * 13.0, 2.0, 30.0), (7.0, 27.0, 12.0), _FLUID, soft=1.5)  # ventricles
        canvas.ellipsoid((side * 17.0, -26.0, 22.0), (6.0, 12.0, 10.0), _FLUID, soft=1.5)
        canvas.ellipsoid((side * 16.0, -6.0, 14.0), (9.0, 14.0, 9.0), _GREY + 8, soft=1.5)  # thalamus
        canvas.ellipsoid((side * 25.0, 12.0, 16.0), (7.0, 17.0, 10.0), _GREY + 4, soft=1.5)  # putamen
    canvas.ellipsoid((0.0, 2.0, 40.0), (15.0, 34.0, 5.0), _WHITE + 6, soft=1.5)  # corpus callosum


def _face(canvas: Canvas) -> None:
    for side in (-1.0, 1.0):
        canvas.ellipsoid((side * 31.0, 68.0, -10.0), (17.0, 22.0, 16.0), _FAT - 30, soft=1.5)
        canvas.ellipsoid((side * 31.0, 72.0, -10.0), (12.0, 12.0, 12.0), 34.0)  # eyes
        canvas.ellipsoid((side * 31.0, 81.5, -10.0), (4.5, 2.5, 4.5), 60.0)
        canvas.ellipsoid((side * 27.0, 52.0, -38.0), (13.0, 18.0, 14.0), _AIR)  # maxillary sinus
        canvas.ellipsoid((side * 79.0, -6.0, -14.0), (6.0, 14.0, 24.0), _MUSCLE + 20, soft=1.5)  # ears
    canvas.ellipsoid((0.0, 66.0, -30.0), (7.0, 28.0, 22.0), _AIR)
    canvas.ellipsoid((0.0, 30.0, -62.0), (9.0, 10.0, 40.0), _AIR)  # throat
    canvas.ellipsoid((0.0, 60.0, -66.0), (27.0, 30.0, 10.0), _MUSCLE + 24, soft=2.0)  # tongue
