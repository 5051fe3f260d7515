"""Slides that vanish leave the DICOM index, in one listing of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from microtome.app.background import Background
from microtome.catalog.base import Page
from microtome.dicom.rows import SLIDE
from microtome.settings import Settings


class _Index:
    """Three slides of two instances each."""

    def __init__(self) -> None:
        self.keys = [f"{SLIDE}{name}.svs#{number}" for name in "abc" for number in (1, 2)]
        self.listed: list[str] = []
        self.forgotten: list[str] = []

    async def files(self, after: str, before: str, limit: int) -> list[tuple[str, int, str]]:
        """Rows in between."""
        self.listed.append(after)
        return [(key, 1, "v1") for key in self.keys if after < key < before][:limit]

    async def forget(self, keys: list[str]) -> None:
        """What is to be forgotten."""
        self.forgotten += keys


class _Catalog:
    async def list(self, **_: Any) -> Page:
        """Nothing is left."""
        return Page((), None)


async def test_vanished_slides_are_forgotten_with_one_listing() -> None:
    index: Any = _Index()
    services: Any = SimpleNamespace(store=None, files=_Catalog())
    attributes: Any = SimpleNamespace(known=True, wanted=False)
    slides: Any = None
    background = Background(Settings(data="x"), services, index, slides, attributes)
    await background._index_slides("")
    assert index.forgotten == index.keys
    assert index.listed == [SLIDE, index.keys[-1]]  # the rows, and that there are no more of them
