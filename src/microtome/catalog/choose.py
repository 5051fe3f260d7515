"""From the name in ``WS_LOCAL_MODE`` to a mapper: ours, by any of their names, or a class of somebody else's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from microtome.catalog.base import Mapper
from microtome.catalog.custom import VARIABLE, CustomMapper
from microtome.catalog.kinds import Kinds
from microtome.catalog.listing import FRESH
from microtome.catalog.paths import PathsMapper
from microtome.catalog.remote import RemoteMapper
from microtome.catalog.simple import SimpleMapper
from microtome.catalog.table import Columns, TableMapper
from microtome.catalog.walk import WalkingMapper
from microtome.errors import InvalidRequest
from microtome.storage.base import Store
from microtome.storage.local import LocalStore

NAMES = {
    "simple": "simple",
    "wsi_service.simple_mapper:SimpleMapper": "simple",
    "microtome.catalog.simple:SimpleMapper": "simple",
    "paths": "paths",
    "wsi_service.paths_mapper:PathsMapper": "paths",
    "microtome.catalog.paths:PathsMapper": "paths",
    "csv": "csv",
    "wsi_service.csv_mapper:CSVMapper": "csv",
    "microtome.catalog.table:TableMapper": "csv",
    "iterator": "iterator",
    "wsi_service.mapper_iterator:IteratorMapper": "iterator",
    "wsi_service.mapper_iterator.iterator:IteratorMapper": "iterator",
    "microtome.catalog.walk:WalkingMapper": "iterator",
}
"""What ``WS_LOCAL_MODE`` may be, beside the ``module:Class`` of somebody else's mapper, and which of ours it means."""

SOURCE = "data.csv"

_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


async def open_mapper(
    local_mode: str,
    *,
    store: Store,
    kinds: Kinds,
    data_dir: str,
    mapper_address: str = "",
    variables: Mapping[str, str] | None = None,
    fresh: float = FRESH,
) -> Mapper:
    """The mapper that ``local_mode`` names; the one at ``mapper_address`` when it is empty.

    ``data_dir`` is the root of ``store`` as it was configured, a folder or URL. ``variables`` are those of the
    environment; the mappers of tables (``CSWS_*``) and of all folders (``WSIT_*``) read theirs from it, in any case.
    Listings are kept for ``fresh`` s. Raises InvalidRequest naming the variable that is wrong.
    """
    given = {name.upper(): value for name, value in (variables or {}).items()}
    name = local_mode.strip()
    if not name:
        return RemoteMapper(mapper_address, data_dir=data_dir)
    match NAMES.get(name) or NAMES.get(name.lower()):
        case "simple":
            return SimpleMapper(store, kinds, fresh=fresh)
        case "paths":
            return PathsMapper(store, kinds, fresh=fresh)
        case "csv":
            return await _table(store, kinds, data_dir, given, fresh)
        case "iterator":
            return WalkingMapper(
                store,
                kinds,
                data_dir=data_dir,
                institution=given.get("WSIT_INSTITUTION_PATTERN", ""),
                project=given.get("WSIT_PROJECT_PATTERN", ""),
                fresh=fresh,
            )
        case _:
            if not _CLASS.fullmatch(name) or name.startswith("wsi_service."):
                known = ", ".join(sorted(each for each in NAMES if not each.startswith("microtome.")))
                raise InvalidRequest(
                    f"{VARIABLE}: there is no mapper {name[:100]}; there are {known}, and any module:Class of your own",
                    parameter=VARIABLE,
                )
            return await CustomMapper.open(name, data_dir=data_dir, fresh=fresh)


async def _table(store: Store, kinds: Kinds, data_dir: str, given: Mapping[str, str], fresh: float) -> TableMapper:
    source = given.get("CSWS_SOURCE") or SOURCE
    separator = given.get("CSWS_SEPARATOR") or "\t"
    columns = Columns(
        **{
            name: _column(given, f"CSWS_{name.upper()}", getattr(Columns(), name))
            for name in ("group_1", "group_2", "slide_id", "case_id", "path")
        },
        separator="\t" if separator == "\\t" else separator,
    )
    tables, place = _tables(store, Path(source), source)
    mapper = TableMapper(store, kinds, tables=tables, source=place, data_dir=data_dir, columns=columns, fresh=fresh)
    try:
        await mapper.refresh()
    except BaseException:
        await mapper.close()
        raise
    return mapper


def _tables(store: Store, path: Path, source: str) -> tuple[Store, str]:
    """The store that holds the tables and where in it: a place of this machine, else one within the data."""
    if path.is_dir():
        return LocalStore(path, follow_symlinks=True), ""
    if path.is_file():
        return LocalStore(path.parent, follow_symlinks=True), path.name
    return store, source


def _column(given: Mapping[str, str], variable: str, default: int) -> int:
    text = given.get(variable, "").strip()
    if not text:
        return default
    if not re.fullmatch(r"\d{1,4}", text):
        raise InvalidRequest(f"{variable} must be the number of a column, counted from 0", parameter=variable)
    return int(text)
