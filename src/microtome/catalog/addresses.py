"""From what people write down as a place to the key of an object, and the storage addresses made of keys."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import NAMESPACE_URL, uuid5

from microtome.catalog.base import MappedSlide, StorageAddress
from microtome.errors import NotFound
from microtome.storage.keys import is_key


def relative(path: str) -> str:
    """The path without leading slash, empty segments and ``.``; "" is the root. Raises NotFound when it leaves it."""
    key = "/".join(segment for segment in path.split("/") if segment not in {"", "."})
    if key and not is_key(key):
        raise NotFound("slide", path)
    return key


def key_of(address: str, data_dir: str) -> str:
    """The key of an address relative to the root of the data, or absolute and below ``data_dir`` (a folder or URL).

    Raises NotFound for every other address.
    """
    root = data_dir.rstrip("/") + "/"
    if address.startswith(root):
        address = address[len(root) :]
    elif address.startswith("/"):
        raise NotFound("slide", address)
    key = relative(address)
    if not key:
        raise NotFound("slide", address)
    return key


def id_of(slide_id: str, key: str) -> str:
    """The id of an address that is not the main one: made of slide and key, the same at every call."""
    return str(uuid5(NAMESPACE_URL, f"{slide_id}\n{key}"))


def mapped(slide_id: str, local_id: str, key: str, secondary: Iterable[str] = ()) -> MappedSlide:
    """A slide with its addresses: those of the ``secondary`` keys first, the main one last.

    The id of the main address is that of the slide.
    """
    addresses = [
        StorageAddress(
            other, slide_id, main_address=False, storage_address_id=str(uuid5(NAMESPACE_URL, slide_id + other))
        )
        for other in secondary
    ]
    addresses.append(StorageAddress(key, slide_id, main_address=True, storage_address_id=slide_id))
    return MappedSlide(slide_id, local_id, key, tuple(addresses))
