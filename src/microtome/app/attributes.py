"""Where patients and specimens of slides come from: the table of ``dicom_attributes``, the cases of the mapper."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path

from microtome.app.services import open_storage
from microtome.catalog.base import Mapper
from microtome.dicom.annotations import CASE_ATTRIBUTES, TABLE_BYTES, Annotations, case_attributes, read_table
from microtome.errors import InvalidRequest, LimitExceeded, MicrotomeError, StorageUnavailable
from microtome.settings import Settings
from microtome.storage.base import Store
from microtome.storage.keys import is_key
from microtome.telemetry import logger

_SHOWN = 20
"""So many problems of a table are logged."""


class Attributes:
    """Keeps ``annotations`` up to date. Raises InvalidRequest(parameter="dicom_cases") for an attribute of no use."""

    def __init__(self, settings: Settings, store: Store, mapper: Mapper) -> None:
        if settings.dicom_cases not in {None, *CASE_ATTRIBUTES}:
            raise InvalidRequest(
                f"The name of a case can be {', '.join(CASE_ATTRIBUTES)}, not {settings.dicom_cases}",
                parameter="dicom_cases",
            )
        self._settings = settings
        self._data = store
        self._mapper = mapper
        self._table: tuple[Store, str] | None = None
        self._version = ""
        self._cases_due = 0.0
        self._told: dict[str, str] = {}
        self.annotations = Annotations()
        self.wanted = settings.dicom_attributes is not None or settings.dicom_cases is not None
        self.known = not self.wanted
        """Whether it has been found out what there is, so that nothing is shown without what is told of it."""

    async def read(self) -> bool:
        """Look whether something else is told now, and learn it. What is wrong is logged."""
        changed, known = False, True
        for what, learn in (("table", self._read_table), ("cases", self._read_cases)):
            try:
                changed = await learn() or changed
                self._told.pop(what, None)
            except MicrotomeError as error:
                known = known and not isinstance(error, StorageUnavailable)
                if self._told.get(what) != error.message:  # once, however long it lasts
                    logger.warning("Attributes of slides: %s", error.message)
                self._told[what] = error.message
        changed = changed or (known and not self.known)
        self.known = self.known or known
        return changed

    async def close(self) -> None:
        """Let go of a store of its own."""
        if self._table is not None and self._table[0] is not self._data:
            await self._table[0].close()

    async def _read_table(self) -> bool:
        place = self._settings.dicom_attributes
        if place is None:
            return False
        if self._table is None:
            self._table = await asyncio.to_thread(self._open, place)
        store, key = self._table
        info = await store.head(key)
        if info.etag == self._version:
            return False
        if info.size > TABLE_BYTES:
            raise LimitExceeded(f"The table of attributes is larger than {TABLE_BYTES >> 20} MB", limit="table")
        data = (await store.get_range(key, 0, info.size, etag=info.etag)).data
        table = await asyncio.to_thread(read_table, data)
        for problem in table.problems[:_SHOWN]:
            logger.warning("Table of attributes, not used: %s", problem)
        if len(table.problems) > _SHOWN:
            logger.warning("Table of attributes: %d more lines are not used", len(table.problems) - _SHOWN)
        self.annotations.table, self._version = table, info.etag
        return True

    def _open(self, place: str) -> tuple[Store, str]:
        """The store that has the table, and its key there: a file of this machine, a URL, else a key of the data."""
        if "://" in place:
            folder, _, name = place.rpartition("/")
            return open_storage(dataclasses.replace(self._settings, data=folder)), name
        path = Path(place)
        if path.is_file():
            parent = dataclasses.replace(self._settings, data=str(path.absolute()))
            return open_storage(parent), path.name
        if not is_key(place):
            raise InvalidRequest("There is no table of attributes at dicom_attributes", parameter="dicom_attributes")
        return self._data, place

    async def _read_cases(self) -> bool:
        attribute = self._settings.dicom_cases
        if attribute is None or time.monotonic() < self._cases_due:
            return False
        self._cases_due = time.monotonic() + self._settings.dicom_rescan
        found: dict[str, dict[str, str]] = {}
        for case in await self._mapper.cases(None):
            told = case_attributes(attribute, case.local_id)
            for slide in await self._mapper.slides(case.id):
                found[slide.key] = told
        if found == self.annotations.cases:
            return False
        self.annotations.cases = found
        return True
