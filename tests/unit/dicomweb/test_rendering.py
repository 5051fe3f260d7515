"""Query parameters of rendered resources."""

from __future__ import annotations

import pytest

from microtome.api.dicomweb.rendering import rendering
from microtome.dicom.render import Rendering, Viewport
from microtome.dicom.voi import Window
from microtome.errors import InvalidRequest, NotAcceptable


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, Rendering()),
        ({"window": "40,400"}, Rendering(window=Window(40, 400))),
        ({"window": "-0.5,1e3,linear-exact"}, Rendering(window=Window(-0.5, 1000, "LINEAR_EXACT"))),
        ({"window": "40, 0.5, SIGMOID"}, Rendering(window=Window(40, 0.5, "SIGMOID"))),
        ({"viewport": "225,100"}, Rendering(viewport=Viewport(225, 100))),
        ({"viewport": "512,512,10.5,0,20,-30"}, Rendering(viewport=Viewport(512, 512, (10.5, 0, 20, -30)))),
        ({"viewport": "512,512,,,256,"}, Rendering(viewport=Viewport(512, 512, (None, None, 256, None)))),
        ({"quality": "1"}, Rendering(quality=1)),
        ({"quality": "100", "annotation": "patient,technique"}, Rendering(quality=100)),
        ({"iccprofile": "srgb"}, Rendering(profile="srgb")),
        ({"iccprofile": "Yes"}, Rendering(profile="yes")),
    ],
)
def test_what_is_asked(query: dict[str, str], expected: Rendering) -> None:
    assert rendering(query, "image/jpeg") == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [("window", each) for each in ("", "1", "a,b", "1,2,cubic", "1,2,linear,3", "40,0", "40,0.5", "nan,5", "1,inf",
                                   "40,-1,sigmoid", "1e999,5", "40,0,linear-exact")]
    + [("viewport", each) for each in ("", "1", "0,5", "5,0", "-1,5", "1.5,5", "5,5,1", "5,5,1,1,1", "99999,5",
                                       "5,5,-1,0,5,5", "5,5,0,0,0,5", "5,5,a,0,5,5", "5,5,0,0,5,5,5")]
    + [("quality", each) for each in ("", "0", "101", "-1", "ninety", "9.5")]
    + [("annotation", "name"), ("annotation", ""), ("iccprofile", "cmyk"), ("iccprofile", "")],
)  # fmt: skip
def test_what_cannot_be_read(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        rendering({name: value}, "image/jpeg")
    assert caught.value.parameter == name


def test_colour_spaces_without_a_profile() -> None:
    with pytest.raises(NotAcceptable):
        rendering({"iccprofile": "adobergb"}, "image/png")
