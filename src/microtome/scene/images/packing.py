"""Files of volumes packed and unpacked as they are: for readers and writers that hold everybody up while they do it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import IO, Any, cast

from isal import igzip

from microtome.scene.images.data import read_values
from microtome.scene.images.nrrd import MAGIC, Header, read_header

_ENCODING = re.compile(rb"^(encoding:[ \t]*)\S+", re.MULTILINE | re.IGNORECASE)
_PART = 4 << 20


def unpack_nrrd(path: Path, into: Path, most: int) -> bool:
    """Write ``into`` with the same header and data, which are not compressed; whether that was done.

    It is not where nothing is to be unpacked, or more than ``most`` bytes would come of it. The header has been checked
    before (``check_image``). Raises CorruptData.
    """
    with path.open("rb") as file:
        header = _header(file)
        if header is None or header.encoding not in {"gzip", "bzip2"} or header.count * header.dtype.itemsize > most:
            return False
        text = file.read(header.end)
        values = read_values(file, header.dtype, header.count, header.encoding)
    with into.open("wb") as file:
        file.write(_ENCODING.sub(rb"\1raw", text, count=1))
        file.write(memoryview(cast("Any", values)).cast("B"))
    return True


def pack_nrrd(path: Path, into: Path) -> None:
    """Write ``into`` with the same header and data, compressed by gzip; what is no NRRD in one file as it is."""
    with path.open("rb") as file, into.open("wb") as made:
        header = _header(file)
        if header is None or header.encoding != "raw":
            shutil.copyfileobj(file, made, _PART)
            return
        made.write(_ENCODING.sub(rb"\1gzip", file.read(header.end), count=1))
        _compress(file, made)


def pack_gzip(path: Path, into: Path) -> None:
    """Write ``into``, compressed by gzip."""
    with path.open("rb") as file, into.open("wb") as made:
        _compress(file, made)


def _compress(file: IO[bytes], made: IO[bytes]) -> None:
    with cast("Any", igzip.IGzipFile(fileobj=made, mode="wb", compresslevel=1, mtime=0)) as stream:
        while part := file.read(_PART):
            stream.write(part)


def _header(file: IO[bytes]) -> Header | None:
    """Of a file that holds its data and nothing before it; the file stands at its beginning afterwards."""
    found = None
    if file.read(len(MAGIC)) == MAGIC:
        file.seek(0)
        header = read_header(file)
        if not (header.files or header.line_skip or header.byte_skip):
            found = header
    file.seek(0)
    return found
