"""A tile cache that the workers of one machine share: LMDB in a folder, in memory where there is such a file system.

Two generations: tiles are put into the young one; when that holds half of the budget, the old one is emptied and the
two change places. A hit in the old one is copied to the young, so what is asked for stays: a cheap likeness of LRU
that needs no order to be kept between processes.

Durability is not wanted (``sync=False``): a cache that is lost is filled again. What a killed writer leaves behind is
an unfinished transaction, which LMDB never shows; every value carries its length all the same.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import cast

import lmdb

from microtome.model import ColorSpace, EncodedTile, Size
from microtome.telemetry import logger

_HEAD = struct.Struct("<4sIIIBB")
_MAGIC = b"mt01"
_COLORS: tuple[ColorSpace, ...] = ("gray", "rgb", "ycbcr", "other")
_STATE = b"young"
_SLACK = 1 << 20


class SharedTileCache:
    """A ``TileCache`` over ``folder``, at most ``budget`` bytes of it. Every process opens its own."""

    def __init__(self, folder: Path, budget: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._half = max(budget // 2, 1)
        try:
            self._environment, self._databases = _opened(folder, budget)
        except lmdb.Error as error:
            logger.warning("the shared tile cache is damaged, a new one is made: %s", error)
            for name in ("data.mdb", "lock.mdb"):
                (folder / name).unlink(missing_ok=True)
            self._environment, self._databases = _opened(folder, budget)

    def get(self, digest: str) -> EncodedTile | None:
        """The tile, or None. Never raises: a cache that fails is a cache without the tile."""
        key = digest.encode()
        try:
            with self._environment.begin() as transaction:
                young = self._young(transaction)
                data = transaction.get(key, db=self._databases[young])
                if data is None:
                    data = transaction.get(key, db=self._databases[1 - young])
                    old = True
                else:
                    old = False
        except lmdb.Error as error:
            logger.warning("the shared tile cache cannot be read: %s", error)
            return None
        if data is None:
            return None
        tile = _unpacked(data)
        if old and tile is not None:
            self.put(digest, tile)
        return tile

    def put(self, digest: str, tile: EncodedTile) -> None:
        """Keep a tile. Never raises: a full disk costs the cache, not the answer."""
        data = _packed(tile)
        if len(data) > self._half:
            return
        try:
            with self._environment.begin(write=True) as transaction:
                young = self._young(transaction)
                used = transaction.stat(self._databases[young])
                pages = used["leaf_pages"] + used["branch_pages"] + used["overflow_pages"]
                if pages * used["psize"] + len(data) > self._half:
                    young = 1 - young
                    transaction.drop(self._databases[young], delete=False)
                    # Named databases live in the main one, where this key is no name of theirs.
                    transaction.put(_STATE, bytes([young]))
                transaction.put(digest.encode(), data, db=self._databases[young])
        except lmdb.MapFullError:
            self._empty()
        except lmdb.Error as error:
            logger.warning("the shared tile cache cannot be written: %s", error)

    def close(self) -> None:
        """Leave the cache to the other processes."""
        self._environment.close()

    def _young(self, transaction: lmdb.Transaction) -> int:
        state = transaction.get(_STATE)
        return 1 if state == b"\1" else 0

    def _empty(self) -> None:
        """Readers that are slow, or were killed, can keep pages of dropped generations alive; begin anew."""
        try:
            self._environment.reader_check()
            with self._environment.begin(write=True) as transaction:
                for database in self._databases:
                    transaction.drop(database, delete=False)
        except lmdb.Error as error:
            logger.warning("the shared tile cache is full and cannot be emptied: %s", error)


def _opened(folder: Path, budget: int) -> tuple[lmdb.Environment, list[lmdb._Database]]:
    environment = lmdb.open(
        str(folder),
        # Pages are shared by both generations; the slack holds LMDB's own trees and pages not yet reusable.
        map_size=2 * budget + 64 * _SLACK,
        max_dbs=2,
        max_readers=512,
        sync=False,
        metasync=False,
        writemap=True,
        map_async=True,
        readahead=False,
        mode=0o600,
    )
    try:
        environment.reader_check()  # places of processes that were killed
        return environment, [environment.open_db(name) for name in (b"even", b"odd")]
    except lmdb.Error:
        environment.close()
        raise


def _packed(tile: EncodedTile) -> bytes:
    media_type = tile.media_type.encode()
    head = _HEAD.pack(_MAGIC, len(tile.data), *tile.size, _COLORS.index(tile.color), len(media_type))
    return b"".join((head, media_type, tile.data))


def _unpacked(data: bytes) -> EncodedTile | None:
    """A tile out of its bytes; None for what ``_packed`` did not write."""
    if len(data) < _HEAD.size:
        return None
    magic, length, width, height, color, name = cast("tuple[bytes, int, int, int, int, int]", _HEAD.unpack_from(data))
    begin = _HEAD.size + name
    if magic != _MAGIC or len(data) != begin + length or color >= len(_COLORS):
        return None
    media_type = data[_HEAD.size : begin].decode("ascii", "replace")
    return EncodedTile(data[begin:], media_type, Size(width, height), _COLORS[color])
