"""All folders, however deep: a case for each that holds slides, ids that begin with two groups found in its path."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from uuid import NAMESPACE_DNS, uuid5

from microtome.catalog.addresses import mapped
from microtome.catalog.index import Index, IndexedMapper
from microtome.catalog.kinds import Kinds
from microtome.catalog.listing import EVERYTHING, FRESH, Entry, Folder
from microtome.errors import InvalidRequest
from microtome.storage.base import Store
from microtome.telemetry import logger

SUFFIXES = (
    ".bif", ".isyntax", ".mrxs", ".ndpi", ".ome.btf", ".ome.tf2", ".ome.tf8", ".ome.tif", ".ome.tiff", ".scn", ".svs",
    ".tif", ".tiff", ".vsf",
)  # fmt: skip
"""Whole slides, not pictures; DICOM folders are found by the files in them."""

LONGEST_GROUP = 5


class WalkingMapper(IndexedMapper):
    """Ids are ``institution.project.c.<uuid>`` for cases, ``institution.project.w.<uuid>`` for slides.

    Both groups are what group 1 of a pattern finds in ``data_dir`` + "/" + the path of the case's folder; empty when
    it finds nothing or there is no pattern. The uuids are uuid5: of the folder's path relative to the root
    (NAMESPACE_DNS), and of the slide's path (in the namespace of its case). Cases are sorted by path. A folder whose
    group has more than five characters is left out, with a warning. Raises InvalidRequest for a broken pattern.
    """

    def __init__(
        self,
        store: Store,
        kinds: Kinds,
        *,
        data_dir: str,
        institution: str = "",
        project: str = "",
        suffixes: Iterable[str] = SUFFIXES,
        fresh: float = FRESH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(store, kinds, fresh=fresh, clock=clock)
        self._root = data_dir.rstrip("/")
        self._patterns = [
            _pattern(institution, "WSIT_INSTITUTION_PATTERN"),
            _pattern(project, "WSIT_PROJECT_PATTERN"),
        ]
        self._suffixes = tuple(suffixes)

    async def read(self) -> Index:
        """The index of all folders."""
        index = Index()
        root = await self._listings.folder("", EVERYTHING)
        within: str | None = None
        for path, _, folder in root.walk():
            if within is not None and path.startswith(within):
                continue
            if folder.is_slide:
                within = path + "/"
                continue
            entries = await self._listings.slides_in(folder)
            self._add(index, path, [entry for entry in entries if self._is_wanted(entry, folder)])
        return index

    def _is_wanted(self, entry: Entry, folder: Folder) -> bool:
        """DICOM folders with their files, MIRAX with its folder, and whole slides."""
        name = entry.name.lower()
        if entry.name not in folder.files or name.endswith(".mrxs"):
            return bool(entry.companions)
        return name.endswith(self._suffixes)

    def _add(self, index: Index, path: str, entries: list[Entry]) -> None:
        groups = [_group(pattern, f"{self._root}/{path}") for pattern in self._patterns]
        if not entries:
            return
        if any(len(group) > LONGEST_GROUP for group in groups):
            logger.warning("folder %s is left out: a group of its ids would exceed %d characters", path, LONGEST_GROUP)
            return
        start = ".".join(groups)
        namespace = uuid5(NAMESPACE_DNS, path)
        case_id = f"{start}.c.{namespace}"
        index.add_case(case_id, case_id)
        for entry in entries:
            slide_id = f"{start}.w.{uuid5(namespace, entry.key)}"
            index.add(case_id, mapped(slide_id, slide_id, entry.key, entry.companions))


def _pattern(text: str, variable: str) -> re.Pattern[str] | None:
    if not text:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise InvalidRequest(f"{variable} is not a regular expression: {error}", parameter=variable) from error
    if pattern.groups < 1:
        raise InvalidRequest(
            f"{variable} needs a group in parentheses: what it finds becomes the id", parameter=variable
        )
    return pattern


def _group(pattern: re.Pattern[str] | None, path: str) -> str:
    found = pattern.search(path) if pattern else None
    return (found[1] or "") if found else ""
