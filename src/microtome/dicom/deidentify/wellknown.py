"""UIDs that the standard itself has given out (PS3.6 Annex A): they name kinds of things, and nobody."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache


def is_known(uid: str) -> bool:
    """Whether the standard lists this very UID."""
    return uid in _listed()


def is_sop_class(uid: str) -> bool:
    """Whether it is a SOP class of the standard."""
    found = _listed().get(uid)
    return found is not None and found[1] == "SOP Class"


@lru_cache(maxsize=1)
def _listed() -> Mapping[str, tuple[str, str, str, str, str]]:
    from pydicom._uid_dict import UID_dictionary

    return UID_dictionary
