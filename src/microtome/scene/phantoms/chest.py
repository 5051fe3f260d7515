"""A chest with the upper belly as computed tomography shows one, in Hounsfield units, with seven organs told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microtome.scene.images import Image
from microtome.scene.phantoms.paint import Canvas

SIZE, SPACING = (256, 256, 140), (1.5, 1.5, 2.5)


@dataclass(frozen=True, slots=True)
class Organ:
    """``color``: red, green, blue 0..1."""

    name: str
    color: tuple[float, float, float]


ORGANS = (
    Organ("right lung", (0.77, 0.68, 0.42)),
    Organ("left lung", (0.68, 0.79, 0.53)),
    Organ("heart", (0.81, 0.29, 0.25)),
    Organ("liver", (0.87, 0.51, 0.40)),
    Organ("spleen", (0.62, 0.44, 0.65)),
    Organ("aorta", (0.88, 0.38, 0.30)),
    Organ("vertebral column", (0.95, 0.84, 0.57)),
)
"""Label n of the labelmap is the n-th, from 1."""
_FAT, _MUSCLE, _BONE, _MARROW, _LUNG, _AIR = -95.0, 52.0, 620.0, 210.0, -860.0, -1000.0


def chest() -> tuple[Image, Image]:
    """The volume, and the labelmap of its organs."""
    canvas = Canvas(SIZE, SPACING, _AIR)
    canvas.ellipsoid((0.0, -6.0, 0.0), (168.0, 112.0, 400.0), _FAT, power=2.6, soft=2.0)
    canvas.ellipsoid((0.0, -6.0, 0.0), (152.0, 97.0, 400.0), _MUSCLE, power=2.6, soft=2.0)
    _cavity(canvas)
    _belly(canvas)
    _ribs(canvas)
    _vessels(canvas)
    _spine(canvas)
    image = canvas.image(14.0, 21)
    return image, Image(canvas.labels, canvas.matrix())


def _cavity(canvas: Canvas) -> None:
    canvas.ellipsoid((72.0, 0.0, 52.0), (62.0, 82.0, 112.0), _LUNG, label=1, power=2.4, soft=2.0)
    canvas.ellipsoid((-72.0, 0.0, 48.0), (62.0, 82.0, 116.0), _LUNG, label=2, power=2.4, soft=2.0)
    _branches(canvas)
    canvas.ellipsoid((0.0, 4.0, 60.0), (21.0, 76.0, 130.0), _FAT + 60, label=0, power=3.0, soft=2.0)  # mediastinum
    _clear(canvas, (0.0, 4.0, 60.0), (21.0, 76.0, 130.0))
    canvas.ellipsoid((-22.0, 26.0, 6.0), (52.0, 46.0, 46.0), 46.0, label=3, soft=2.0)
    canvas.ellipsoid((-34.0, 22.0, 2.0), (20.0, 20.0, 26.0), 190.0, label=3, soft=3.0)  # ventricle
    canvas.ellipsoid((4.0, 34.0, 8.0), (17.0, 18.0, 24.0), 150.0, label=3, soft=3.0)
    canvas.ellipsoid((0.0, -6.0, 110.0), (9.0, 9.0, 66.0), _AIR)  # windpipe


def _clear(canvas: Canvas, center: tuple[float, float, float], radii: tuple[float, float, float]) -> None:
    """What was painted over belongs to no organ any more."""
    where = canvas.around(center, radii)
    canvas.labels[where][canvas.distance(where, center, radii, 3.0) < 1] = 0


def _branches(canvas: Canvas) -> None:
    """Vessels of the lungs: thin and bright, thinner outwards."""
    for side in (-1.0, 1.0):
        for number in range(26):
            turn = 2.399963 * number  # the golden angle spreads them evenly
            reach = 12.0 + 1.6 * number
            center = (side * (46.0 + 0.5 * reach), reach * np.cos(turn), 40.0 + 1.5 * reach * np.sin(turn))
            radii = (3.4 - 0.07 * number, 3.2 - 0.07 * number, 9.0 - 0.15 * number)
            canvas.ellipsoid((float(center[0]), float(center[1]), float(center[2])), radii, 30.0, soft=1.5)


def _belly(canvas: Canvas) -> None:
    canvas.ellipsoid((52.0, 6.0, -72.0), (88.0, 74.0, 58.0), 72.0, label=4, power=2.3, soft=2.0)
    for x, y, z in ((62.0, 20.0, -60.0), (36.0, -8.0, -82.0), (84.0, -12.0, -70.0)):
        canvas.ellipsoid((x, y, z), (3.0, 3.0, 26.0), 150.0, label=4, soft=1.5)
    canvas.ellipsoid((-92.0, -38.0, -80.0), (34.0, 46.0, 42.0), 96.0, label=5, soft=2.0)
    canvas.ellipsoid((-44.0, 42.0, -84.0), (42.0, 32.0, 34.0), 28.0, soft=2.0)  # stomach
    canvas.ellipsoid((-48.0, 56.0, -72.0), (28.0, 14.0, 18.0), -950.0, soft=2.0)
    for side in (-1.0, 1.0):
        canvas.ellipsoid((side * 58.0, -52.0, -150.0), (24.0, 22.0, 48.0), 132.0, soft=2.0)  # kidneys


def _vessels(canvas: Canvas) -> None:
    for z in np.arange(-180.0, 56.0, 6.0):
        canvas.ellipsoid((-14.0, -44.0, float(z)), (11.5, 11.5, 13.0), 260.0, label=6, soft=1.5)
    for step in range(13):  # the arch, from the heart up and back
        angle = np.pi * step / 12
        center = (2.0 - 16.0 * step / 12, -10.0 + 34.0 * float(np.cos(angle)), 52.0 + 44.0 * float(np.sin(angle)))
        canvas.ellipsoid(center, (12.0, 12.0, 14.0), 260.0, label=6, soft=1.5)


def _spine(canvas: Canvas) -> None:
    for z in np.arange(-170.0, 175.0, 25.0):
        height = float(z)
        canvas.ellipsoid((0.0, -66.0, height), (19.0, 16.0, 10.5), _BONE, label=7, power=3.5, soft=1.5)
        canvas.ellipsoid((0.0, -66.0, height), (16.5, 13.5, 8.0), _MARROW, label=7, power=3.5, soft=1.5)
        canvas.ellipsoid((0.0, -66.0, height + 12.5), (17.0, 14.0, 2.2), 82.0, label=7, power=3.0)  # disc
        canvas.ellipsoid((0.0, -90.0, height - 4.0), (4.0, 16.0, 7.0), _BONE - 160, label=7, soft=1.5)
        for side in (-1.0, 1.0):
            canvas.ellipsoid((side * 20.0, -86.0, height), (17.0, 6.0, 5.0), _BONE - 160, label=7, soft=1.5)
    canvas.ellipsoid((0.0, -86.0, 0.0), (7.0, 6.0, 400.0), 34.0, label=0, power=4.0, soft=1.5)  # canal
    canvas.ellipsoid((0.0, 86.0, 60.0), (17.0, 5.5, 62.0), _MARROW + 140, power=3.0, soft=1.5)  # breastbone


def _ribs(canvas: Canvas) -> None:
    for number in range(11):
        top = 150.0 - 24.0 * number
        for angle in np.linspace(-0.44 * np.pi, 0.40 * np.pi, 44):
            y = 96.0 * float(np.sin(angle))
            x = 140.0 * float(np.cos(angle))
            z = top - 0.32 * (y + 96.0)
            for side in (-1.0, 1.0):
                canvas.ellipsoid((side * x, y - 6.0, z), (6.0, 6.0, 5.5), _BONE - 150, soft=2.0)
