"""DICOM whole slide images (PS3.3 A.32.8): a folder of instances, or one instance.

wsidicom finds the tiles: it reads the headers, the per-frame positions and the offset tables. The frames themselves
are read by range where they lie, so that nothing is copied, and stored JPEG and JPEG 2000 frames come out untouched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from microtome.formats.base import Slide
from microtome.storage.folder import Files, PinnedFolder

_UID = re.compile(r"[0-9]+(\.[0-9]+){3,}")
# The suffix is missing on media (PS3.10 §8.2: IM000001) and in exports (10_0); a README is none of them.
_NUMBERED = re.compile(r"(?=.*[0-9])[A-Za-z0-9_-]{1,16}")


class WsidicomFormat:
    """VL Whole Slide Microscopy Image Storage, tiled full or sparse, one instance or a folder of them."""

    name = "wsidicom"
    priority = 120

    def recognises(self, head: bytes, name: str) -> bool:
        """By the prefix of PS3.10 §7.1; other kinds of DICOM objects are refused by ``open``, with their name."""
        return head[128:132] == b"DICM"

    def recognises_folder(self, names: Sequence[str]) -> bool:
        """Objects called ``*.dcm`` or by a UID directly in it, or a flat folder of short names with numbers alone."""
        if any("/" not in name and _is_named_dicom(name) for name in names):
            return True
        plain = [name for name in names if not name.lower().endswith((".txt", ".md"))]
        return bool(plain) and all(_NUMBERED.fullmatch(name) for name in plain)

    async def open(self, files: Files) -> Slide:
        """Open. Raises UnsupportedFormat naming the SOP class of what is no slide, CorruptData, LimitExceeded."""
        from microtome.formats.wsidicom.slide import open_folder, open_objects

        if not isinstance(files, PinnedFolder):
            return await open_objects([files])
        names = [name for name in files.entries if _is_named_dicom(name)]
        return await open_folder(files, names or [name for name in files.entries if "." not in name])


def _is_named_dicom(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return last.lower().endswith((".dcm", ".dicom")) or _UID.fullmatch(last) is not None
