"""Every real DICOM file, and a file that counts what is read of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from microtome.dicom.part10 import Memory
from tests.conftest import testdata_folder

NO_DICOM = {".md", ".txt", ".json", ".xml", ".jpeg", ".jpg", ".png", ".jls", ".jp2", ".rle", ".dump", ".gz"}
NOT_READ = {
    "README": "a text",
    "no_meta.dcm": "begins with a byte that belongs to nothing",
}


@cache
def all_files() -> list[Path]:
    """Everything below the folder of DICOM files, whatever it is."""
    folder = testdata_folder()
    if folder is None:
        return []
    return sorted(each for each in (folder / "dicom").rglob("*") if each.is_file())


@cache
def dicom_files() -> list[Path]:
    """Those that must be read."""
    return [each for each in all_files() if each.suffix not in NO_DICOM and each.name not in NOT_READ]


def name_of(path: Path) -> str:
    """For the ids of tests."""
    return path.name


class CountingFile(Memory):
    """Counts requests and the largest of them."""

    def __init__(self, data: bytes, size: int | None = None) -> None:
        super().__init__(data)
        object.__setattr__(self, "claimed", len(data) if size is None else size)
        object.__setattr__(self, "requests", [])

    requests: list[int]
    claimed: int

    @property
    def size(self) -> int:
        return self.claimed

    def read_at(self, offset: int, length: int) -> bytes:
        self.requests.append(length)
        return super().read_at(offset, length)
