"""Answers in the Native DICOM Model (PS3.19 §A.1): one part for each data set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import orjson
from starlette.responses import Response

from microtome.api.dicomweb import answers
from microtome.api.dicomweb.accept import XML
from microtome.dicom.json import from_json
from microtome.dicom.xml import to_xml


def answer(body: bytes, *, private: bool) -> Response:
    """The objects of a JSON array as parts of XML."""
    found = cast("list[dict[str, Any]]", orjson.loads(body))
    return documents((to_xml(from_json(each, {})) for each in found), private=private)


def documents(found: Iterable[bytes], *, private: bool) -> Response:
    """Documents as parts."""
    control = f"{'private' if private else 'public'}, no-cache"
    return answers.parts(
        XML, ((XML, None, each) for each in found), {"cache-control": control, "vary": answers.JSON_VARY}
    )
