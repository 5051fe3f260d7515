"""A study of a DICOMweb server as folders of files, one for each series (WADO-RS, PS3.18 §10.4)."""

from __future__ import annotations

import asyncio
import mmap
import re
from pathlib import Path

from microtome.errors import CorruptData, InvalidRequest, LimitExceeded, NotFound
from microtome.scene.fetch import Allowed, download
from microtome.scene.images import deflated

MAX_INSTANCES = 100_000
MAX_SERIES = 200
MAX_HEADERS = 4096
"""Bytes before the data of a part."""
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_BOUNDARY = re.compile(rb"(?:\r\n)?(--[^\r\n]{1,200}?)[ \t]*\r\n")
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


async def retrieve(
    base: str, study: str, series: str, into: Path, allowed: Allowed, *, token: str = "", most: int
) -> list[Path]:
    """Fetch a study, or one series of it; the folders of its series, those of most files first.

    ``base`` is the address of the service; ``into`` an empty folder; ``most`` bytes are taken. Raises as
    ``fetch.download``, and CorruptData for answers that are no parts with DICOM.
    """
    for name, uid in (("studyUID", study), ("seriesUID", series)):
        if (uid or name == "studyUID") and not (len(uid) <= 64 and _UID.fullmatch(uid)):
            raise InvalidRequest(f"{name} is no UID of DICOM", parameter=name)
    url = f"{base.rstrip('/')}/studies/{study}{f'/series/{series}' if series else ''}"
    headers = [("accept", _ACCEPT), *([("authorization", f"Bearer {token}")] if token else [])]
    if any(ord(letter) < 33 or ord(letter) > 126 for letter in token):
        raise InvalidRequest("accessToken is no token", parameter="accessToken")
    answer = into / "answer"
    await download(url, answer, allowed, most=most, headers=headers)
    return await asyncio.to_thread(_sorted_out, answer, into)


def _sorted_out(answer: Path, into: Path) -> list[Path]:
    parts = split(answer, into)
    answer.unlink()
    from pydicom import dcmread  # pyright: ignore[reportUnknownVariableType]

    counts: dict[Path, int] = {}
    for part in parts:
        deflated.check(part)
        try:
            found = dcmread(part, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
            uid = str(found.get("SeriesInstanceUID", ""))
        except Exception as error:
            raise CorruptData("The server sent something else than DICOM") from error
        if not _UID.fullmatch(uid) or len(uid) > 64:
            raise CorruptData("The server sent an instance without a SeriesInstanceUID")
        folder = into / uid
        folder.mkdir(exist_ok=True)
        part.rename(folder / part.name)
        counts[folder] = counts.get(folder, 0) + 1
    if not counts:
        raise NotFound("study", "", "The server has nothing of this study")
    return sorted(counts, key=lambda folder: -counts[folder])


def split(answer: Path, into: Path) -> list[Path]:
    """The parts of a multipart answer (RFC 2046 §5.1) as files ``1.dcm``, ``2.dcm`` ... in ``into``.

    The boundary is the first line. Raises CorruptData, LimitExceeded for more parts than ``MAX_INSTANCES``.
    """
    if answer.stat().st_size == 0:
        return []
    found: list[Path] = []
    with answer.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        first = _BOUNDARY.match(data)
        if first is None:
            raise CorruptData("The server did not answer with parts (multipart/related)")
        mark = b"\r\n" + first[1]
        at = first.end()
        while True:
            begin = at if data[at : at + 2] == b"\r\n" else data.find(b"\r\n\r\n", at, at + MAX_HEADERS) + 2
            end = data.find(mark, max(at, begin))
            if begin < at or end < 0:
                raise CorruptData("A part of the server's answer is not complete")
            if len(found) >= MAX_INSTANCES:
                raise LimitExceeded(f"The study has more than {MAX_INSTANCES} instances", limit="MAX_INSTANCES")
            path = into / f"{len(found) + 1}.dcm"
            path.write_bytes(memoryview(data)[begin + 2 : end])
            found.append(path)
            at = end + len(mark)
            if data[at : at + 2] == b"--":
                return found
            line = data.find(b"\r\n", at, at + MAX_HEADERS)
            if line < 0:
                raise CorruptData("A part of the server's answer is not complete")
            at = line + 2
