"""What mappers of others answer, as dicts, models or plain objects, made into ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from microtome.catalog.addresses import id_of, key_of
from microtome.catalog.base import Case, MappedSlide, StorageAddress
from microtome.errors import NotFound
from microtome.telemetry import logger


class Malformed(ValueError):
    """The answer is not of the documented form; says which part."""


def case_of(answer: object) -> Case:
    """A case out of ``id``, ``local_id`` and ``slides``. Raises Malformed."""
    case_id = _text(answer, "id")
    slides = tuple(str(slide) for slide in _list(answer, "slides"))
    return Case(case_id, _text(answer, "local_id", case_id), slides)


def slide_of(answer: object, data_dir: str) -> MappedSlide:
    """A slide out of ``id``, ``local_id`` and ``slide_storage``. Raises Malformed, and NotFound as ``stored`` does."""
    slide_id = _text(answer, "id")
    return stored(slide_id, _text(answer, "local_id", slide_id), _part(answer, "slide_storage"), data_dir)


def stored(slide_id: str, local_id: str, storage: object, data_dir: str) -> MappedSlide:
    """A slide at the ``storage_addresses`` of a storage: the first main address, else the first one, becomes its key.

    Raises Malformed, and NotFound when there are no addresses or the main one leaves ``data_dir``. Others that do are
    left out.
    """
    written = list(_list(storage, "storage_addresses"))
    if not written:
        raise NotFound("slide", slide_id)
    main = next((each for each in written if _part(each, "main_address") is True), written[0])
    key = key_of(_text(main, "address"), data_dir)
    found: list[StorageAddress] = []
    for each in written:
        if each is main:
            continue
        try:
            other = key_of(_text(each, "address"), data_dir)
        except NotFound:
            logger.warning("an address of slide %s is left out: it leaves the data", slide_id)
            continue
        address_id = _text(each, "storage_address_id", id_of(slide_id, other))
        found.append(StorageAddress(other, slide_id, main_address=False, storage_address_id=address_id))
    address_id = _text(main, "storage_address_id", slide_id)
    found.append(StorageAddress(key, slide_id, main_address=True, storage_address_id=address_id))
    return MappedSlide(slide_id, local_id, key, tuple(found))


def _part(answer: object, name: str) -> object:
    if isinstance(answer, Mapping):
        return cast("Mapping[str, object]", answer).get(name)
    return getattr(answer, name, None)


def _text(answer: object, name: str, default: str | None = None) -> str:
    value = _part(answer, name)
    if value is None and default is not None:
        return default
    if value is None or isinstance(value, (bytes, Mapping, list, tuple)):
        raise Malformed(f"{name} is missing or no text")
    return str(value)  # UUID and Path objects are as good as text


def _list(answer: object, name: str) -> Iterable[Any]:
    value = _part(answer, name)
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, Mapping)):
        raise Malformed(f"{name} is missing or no list")
    return cast("Iterable[Any]", value)
