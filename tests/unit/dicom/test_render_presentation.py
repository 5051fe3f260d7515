"""Presentation states: what somebody saw is what is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from microtome.dicom.dataset import Dataset
from microtome.dicom.image import image_facts
from microtome.dicom.presentation import on_picture, presentation
from microtome.dicom.render import Rendering, StoredFrame, Viewport, pixels, render
from microtome.dicom.voi import Grayscale, Window
from microtome.errors import InvalidRequest
from tests.unit.dicom.images import dataset, image
from tests.unit.dicom.test_render_frames import EXPLICIT, _overlay, read

UID = "1.2.3.4"
GRAYS = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60)
Part = tuple[int, str, Any]


def frame(array: NDArray[Any] = GRAYS, photometric: str = "", *more: Part) -> StoredFrame:
    made = image(array, photometric, 0, (0x00080018, "UI", UID), *more)
    return StoredFrame(array.tobytes(), made, image_facts(made), EXPLICIT)


def reference(uid: str = UID, *frames: int) -> Dataset:
    numbers: list[Part] = [(0x00081160, "IS", "\\".join(str(each) for each in frames))] if frames else []
    return dataset((0x00081155, "UI", uid), *numbers)


def state(*parts: Part, uid: str = UID) -> Dataset:
    return dataset((0x00081115, "SQ", [dataset((0x00081140, "SQ", [reference(uid)]))]), *parts)


def shown(*parts: Part, of: StoredFrame | None = None, viewport: Viewport | None = None) -> NDArray[np.uint8]:
    return read(render(of or frame(), Rendering("image/png", viewport=viewport), state(*parts)))


def voi(center: int, width: int, *references: Dataset) -> Dataset:
    named: list[Part] = [(0x00081140, "SQ", list(references))] if references else []
    return dataset((0x00281050, "DS", str(center)), (0x00281051, "DS", str(width)), *named)


def test_the_states_window_replaces_the_images() -> None:
    own = frame(GRAYS, "", (0x00281050, "DS", "5"), (0x00281051, "DS", "5"))
    expected = pixels(own, Rendering(window=Window(1200, 800)))[:, :, 0]
    items = [voi(7, 7, reference("9.9")), voi(8, 8, reference(UID, 2)), voi(1200, 800, reference(UID, 1)), voi(6, 6)]
    np.testing.assert_array_equal(shown((0x00283110, "SQ", items), of=own), expected)
    # Without one all of the stored range is shown, whatever the image says.
    np.testing.assert_array_equal(shown(of=own), np.rint(GRAYS / 65535 * 255))


def test_polarity_is_the_states() -> None:
    plain = shown()
    np.testing.assert_array_equal(shown((0x20500020, "CS", "INVERSE")), 255 - plain)
    np.testing.assert_array_equal(shown(of=frame(GRAYS, "MONOCHROME1")), plain)


def test_a_presentation_lut() -> None:
    entries = np.array([65535, 0], "<u2").tobytes()
    item = dataset((0x00283002, "US", [2, 0, 16]), (0x00283006, "OW", entries))
    picture = shown((0x20500010, "SQ", [item]), (0x00283110, "SQ", [voi(1200, 2)]))
    assert (picture[0, 0], picture[-1, -1]) == (255, 0)


def test_rescale_goes_before_the_window() -> None:
    picture = shown((0x00281053, "DS", "2"), (0x00281052, "DS", "100"), (0x00283110, "SQ", [voi(2500, 2000)]))
    expected = np.clip((GRAYS * 2.0 + 100 - 2499.5) / 1999 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(picture, expected, atol=0.51)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["Y", "N"])
def test_rotation_and_flip(turn: int, flip: str) -> None:
    picture = shown((0x00700042, "US", turn), (0x00700041, "CS", flip))
    expected = np.rot90(shown(), -turn // 90)
    np.testing.assert_array_equal(picture, expected[:, ::-1] if flip == "Y" else expected)


def test_the_displayed_area() -> None:
    def area(*corners: int) -> Part:
        return (0x0070005A, "SQ", [dataset((0x00700052, "SL", corners[:2]), (0x00700053, "SL", corners[2:]))])

    whole = shown()
    np.testing.assert_array_equal(shown(area(11, 6, 30, 20)), whole[5:20, 10:30])
    np.testing.assert_array_equal(shown(area(30, 20, 11, 6)), whole[5:20, 10:30])
    np.testing.assert_array_equal(shown(area(-100, -5, 1000, 20)), whole[:20])
    np.testing.assert_array_equal(shown(area(100, 100, 200, 200)), whole)
    turned = shown(area(11, 6, 30, 20), (0x00700042, "US", 90), viewport=Viewport(150, 40))
    assert turned.shape == (40, 30)


def test_shutters() -> None:
    sides = [(0x00181602, "IS", "11"), (0x00181604, "IS", "30"), (0x00181606, "IS", "6"), (0x00181608, "IS", "20")]
    value = (0x00181622, "US", 0x80FF)
    plain = shown()
    expected = np.full_like(plain, 0x80)
    expected[5:20, 10:30] = plain[5:20, 10:30]
    np.testing.assert_array_equal(shown((0x00181600, "CS", "RECTANGULAR"), *sides, value), expected)
    round_one = shown((0x00181600, "CS", "CIRCULAR"), (0x00181610, "IS", "20\\30"), (0x00181612, "IS", "10"), value)
    inside = np.hypot(*np.mgrid[-19:21, -29:31]) <= 10
    np.testing.assert_array_equal(round_one, np.where(inside, plain, 0x80))
    corners = (0x00181620, "IS", "6\\11\\6\\30\\20\\30\\20\\11")
    np.testing.assert_array_equal(shown((0x00181600, "CS", "POLYGONAL"), corners, value), expected)
    both = shown(
        (0x00181600, "CS", "POLYGONAL\\CIRCULAR"), corners, (0x00181610, "IS", "20\\30"), (0x00181612, "IS", "10")
    )
    np.testing.assert_array_equal(both == plain, inside & (expected == plain) | (plain == 0))
    np.testing.assert_array_equal(shown((0x00181600, "CS", "RECTANGULAR")), 0)


def test_overlays_of_the_image_are_shown_when_activated() -> None:
    mask = np.ones((5, 7), np.bool_)
    own = frame(GRAYS, "", *_overlay(mask, 1, 1), *_overlay(mask, 11, 11, 0x6002))
    hidden, second = shown(of=own), shown((0x60021001, "CS", "LAYER"), of=own)
    assert not (hidden[:5, :7] == 255).any()
    assert (second[10:15, 10:17] == 255).all()
    assert not (second[:5, :7] == 255).any()
    assert (shown(*_overlay(mask, 3, 3))[2:7, 2:9] == 255).all()


def graphics(
    kind: str, points: list[float], units: str = "PIXEL", *more: Part, references: list[Dataset] | None = None
) -> Part:
    item = dataset((0x00700005, "CS", units), (0x00700023, "CS", kind), (0x00700022, "FL", points), *more)
    layer: list[Part] = [(0x00081140, "SQ", references)] if references else []
    return (0x00700001, "SQ", [dataset((0x00700009, "SQ", [item]), *layer)])


DARK = frame(np.zeros((40, 60), np.uint8))


@pytest.mark.parametrize(
    ("part", "white", "black"),
    [
        (graphics("POLYLINE", [11, 6, 31, 6]), [(5, 10), (5, 20), (5, 30)], [(5, 9), (5, 31), (6, 20)]),
        (graphics("POLYLINE", [0.5, 0.5, 0.5, 1.0], "DISPLAY"), [(20, 30), (39, 30)], [(18, 30), (30, 29)]),
        (graphics("POLYLINE", [11, 6, 31, 6, 31, 26, 11, 6], "PIXEL", (0x00700024, "CS", "Y")), [(10, 25)], [(25, 11)]),
        (graphics("POINT", [21, 16]), [(15, 20), (15, 18), (17, 20)], [(13, 18)]),
        (graphics("CIRCLE", [31, 21, 41, 21]), [(20, 40), (20, 20), (10, 30)], [(20, 30)]),
        (graphics("ELLIPSE", [21, 21, 41, 21, 31, 16, 31, 26]), [(20, 20), (20, 40), (15, 30)], [(20, 30), (10, 30)]),
        (graphics("POLYLINE", [11, 6, 31, 6], references=[reference(UID, 1)]), [(5, 20)], []),
        (graphics("POLYLINE", [11, 6, 31, 6], references=[reference(UID, 2)]), [], [(5, 20)]),
    ],
)
def test_graphics(part: Part, white: list[tuple[int, int]], black: list[tuple[int, int]]) -> None:
    picture = shown(part, of=DARK)
    assert all(picture[each] == 255 for each in white)
    assert all(picture[each] == 0 for each in black)


def test_text_is_drawn_where_it_belongs() -> None:
    text = dataset((0x00700006, "ST", "Nodule"), (0x00700003, "CS", "PIXEL"), (0x00700010, "FL", [11, 11]))
    picture = shown((0x00700001, "SQ", [dataset((0x00700008, "SQ", [text]))]), of=DARK)
    assert picture[10:25, 10:50].max() > 200
    assert not picture[:10].any()


@pytest.mark.parametrize(
    "points", [[], [1], [float("nan"), 1, 2, 2], [1e30, 1, 2, 2], [float("inf")] * 4, [-5000, -5000, 9000, 9000]]
)
@pytest.mark.parametrize("kind", ["POLYLINE", "CIRCLE", "ELLIPSE", "POINT", "SPIRAL"])
def test_graphics_that_lead_nowhere(kind: str, points: list[float]) -> None:
    assert shown(graphics(kind, points), of=DARK).shape == (40, 60)


def test_points_go_where_pixels_go() -> None:
    """Rotated and mirrored alike, for every combination."""
    for turns in range(4):
        for flipped in (False, True):
            for y, x in ((0, 0), (3, 17), (39, 59)):
                array = np.zeros((40, 60), np.uint8)
                array[y, x] = 255
                of = frame(array)
                picture = shown((0x00700042, "US", 90 * turns), (0x00700041, "CS", "Y" if flipped else "N"), of=of)
                found = presentation(state(), of.dataset, of.facts, Grayscale(), of.read)
                found = replace(found, turns=turns, flipped=flipped)
                place = on_picture(np.array([[x, y]], np.float64), found, picture.shape[1], picture.shape[0])
                np.testing.assert_allclose(place[0, ::-1], np.argwhere(picture)[0], atol=1e-9)


def test_a_state_of_another_image() -> None:
    for foreign in (state(uid="9.9"), Dataset()):
        with pytest.raises(InvalidRequest):
            render(frame(), Rendering(), foreign)
