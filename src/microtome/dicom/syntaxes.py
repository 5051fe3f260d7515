"""Transfer syntaxes: how data set and pixel data are encoded (PS3.5 §10, Annex A; PS3.6 Annex A)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
JPEG_XL_LOSSLESS = "1.2.840.10008.1.2.4.110"
JPEG_XL_RECOMPRESSION = "1.2.840.10008.1.2.4.111"
JPEG_XL = "1.2.840.10008.1.2.4.112"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"
RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"

Codec = Literal["", "jpeg", "jpeg-ls", "jpeg-2000", "htj2k", "jpeg-xl", "rle", "deflate", "mpeg", "jpip", "unknown"]


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """Facts of one transfer syntax.

    ``codec`` is the family of the compressed pixel data ("" for native pixels). ``media_type`` is what one frame of it
    is called (PS3.18 §8.7.3.3). ``lossy``: the pixels may differ from what was acquired; syntaxes that allow both
    (JPEG 2000 .91, HTJ2K .203) count as lossy. ``default`` marks the one meant by its media type alone.
    """

    uid: str
    name: str
    codec: Codec = ""
    media_type: str = "application/octet-stream"
    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False
    encapsulated: bool = False
    lossy: bool = False
    default: bool = False

    @property
    def video(self) -> bool:
        """The pixel data is one stream, not frames."""
        return self.codec == "mpeg"


def _native(uid: str, name: str, *, implicit: bool = False, big: bool = False) -> TransferSyntax:
    return TransferSyntax(uid, name, implicit=implicit, big_endian=big)


def _image(
    uid: str, name: str, codec: Codec, media_type: str, *, lossy: bool = False, default: bool = False
) -> TransferSyntax:
    return TransferSyntax(
        "1.2.840.10008.1.2." + uid, name, codec, media_type, encapsulated=True, lossy=lossy, default=default
    )


_BINARY = "application/octet-stream"
_ALL = (
    _native(IMPLICIT_LITTLE, "Implicit VR Little Endian", implicit=True),
    _native(EXPLICIT_LITTLE, "Explicit VR Little Endian"),
    TransferSyntax(DEFLATED_LITTLE, "Deflated Explicit VR Little Endian", deflated=True),
    _native(EXPLICIT_BIG, "Explicit VR Big Endian", big=True),
    _image("1.98", "Encapsulated Uncompressed Explicit VR Little Endian", "", _BINARY),
    _image("4.50", "JPEG Baseline (Process 1)", "jpeg", "image/jpeg", lossy=True),
    _image("4.51", "JPEG Extended (Process 2 and 4)", "jpeg", "image/jpeg", lossy=True),
    _image("4.53", "JPEG Spectral Selection, Non-Hierarchical (Process 6 and 8)", "jpeg", "image/jpeg", lossy=True),
    _image("4.55", "JPEG Full Progression, Non-Hierarchical (Process 10 and 12)", "jpeg", "image/jpeg", lossy=True),
    _image("4.57", "JPEG Lossless, Non-Hierarchical (Process 14)", "jpeg", "image/jpeg"),
    _image("4.70", "JPEG Lossless, Non-Hierarchical, First-Order Prediction", "jpeg", "image/jpeg", default=True),
    _image("4.80", "JPEG-LS Lossless", "jpeg-ls", "image/jls", default=True),
    _image("4.81", "JPEG-LS Near-Lossless", "jpeg-ls", "image/jls", lossy=True),
    _image("4.90", "JPEG 2000 Lossless", "jpeg-2000", "image/jp2", default=True),
    _image("4.91", "JPEG 2000", "jpeg-2000", "image/jp2", lossy=True),
    _image("4.92", "JPEG 2000 Part 2 Multi-component Lossless", "jpeg-2000", "image/jpx", default=True),
    _image("4.93", "JPEG 2000 Part 2 Multi-component", "jpeg-2000", "image/jpx", lossy=True),
    TransferSyntax("1.2.840.10008.1.2.4.94", "JPIP Referenced", "jpip"),
    TransferSyntax("1.2.840.10008.1.2.4.95", "JPIP Referenced Deflate", "jpip", deflated=True),
    _image("4.100", "MPEG2 Main Profile / Main Level", "mpeg", "video/mpeg2", lossy=True, default=True),
    _image("4.100.1", "Fragmentable MPEG2 Main Profile / Main Level", "mpeg", "video/mpeg2", lossy=True),
    _image("4.101", "MPEG2 Main Profile / High Level", "mpeg", "video/mpeg2", lossy=True),
    _image("4.101.1", "Fragmentable MPEG2 Main Profile / High Level", "mpeg", "video/mpeg2", lossy=True),
    _image("4.102", "MPEG-4 AVC/H.264 High Profile", "mpeg", "video/mp4", lossy=True, default=True),
    _image("4.102.1", "Fragmentable MPEG-4 AVC/H.264 High Profile", "mpeg", "video/mp4", lossy=True),
    _image("4.103", "MPEG-4 AVC/H.264 BD-compatible High Profile", "mpeg", "video/mp4", lossy=True),
    _image("4.103.1", "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile", "mpeg", "video/mp4", lossy=True),
    _image("4.104", "MPEG-4 AVC/H.264 High Profile For 2D Video", "mpeg", "video/mp4", lossy=True),
    _image("4.104.1", "Fragmentable MPEG-4 AVC/H.264 High Profile For 2D Video", "mpeg", "video/mp4", lossy=True),
    _image("4.105", "MPEG-4 AVC/H.264 High Profile For 3D Video", "mpeg", "video/mp4", lossy=True),
    _image("4.105.1", "Fragmentable MPEG-4 AVC/H.264 High Profile For 3D Video", "mpeg", "video/mp4", lossy=True),
    _image("4.106", "MPEG-4 AVC/H.264 Stereo High Profile", "mpeg", "video/mp4", lossy=True),
    _image("4.106.1", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile", "mpeg", "video/mp4", lossy=True),
    _image("4.107", "HEVC/H.265 Main Profile / Level 5.1", "mpeg", "video/H265", lossy=True, default=True),
    _image("4.108", "HEVC/H.265 Main 10 Profile / Level 5.1", "mpeg", "video/H265", lossy=True),
    _image("4.110", "JPEG XL Lossless", "jpeg-xl", "image/jxl", default=True),
    _image("4.111", "JPEG XL JPEG Recompression", "jpeg-xl", "image/jxl", lossy=True),
    _image("4.112", "JPEG XL", "jpeg-xl", "image/jxl", lossy=True),
    _image("4.201", "High-Throughput JPEG 2000 Lossless", "htj2k", "image/jphc", default=True),
    _image("4.202", "High-Throughput JPEG 2000 with RPCL Options Lossless", "htj2k", "image/jphc"),
    _image("4.203", "High-Throughput JPEG 2000", "htj2k", "image/jphc", lossy=True),
    TransferSyntax("1.2.840.10008.1.2.4.204", "JPIP HTJ2K Referenced", "jpip"),
    TransferSyntax("1.2.840.10008.1.2.4.205", "JPIP HTJ2K Referenced Deflate", "jpip", deflated=True),
    _image("5", "RLE Lossless", "rle", "image/dicom-rle", default=True),
    _image("8.1", "Deflated Image Frame Compression", "deflate", _BINARY),
)

ALL: Mapping[str, TransferSyntax] = MappingProxyType({each.uid: each for each in _ALL})
"""Every transfer syntax of PS3.6 that a file may have, by UID."""


NOT_SENT = frozenset({IMPLICIT_LITTLE, EXPLICIT_BIG})
"""Syntaxes that are not sent whoever asks for them (PS3.18 §8.7.3.5.2): files of them go out as Explicit VR Little
Endian, which is the same pixel data.
"""


def as_sent(uid: str) -> str:
    """The transfer syntax in which an instance that is held in ``uid`` can be had without being decoded."""
    return EXPLICIT_LITTLE if uid in NOT_SENT else uid


def find(uid: str) -> TransferSyntax:
    """Facts of a transfer syntax. One that nobody knows is explicit, little-endian, of an unknown codec (PS3.5 §A.4).

    Private syntaxes nearly always are; ``codec`` "unknown" says that frames can be handed out, but not decoded.
    """
    return ALL.get(uid) or TransferSyntax(uid, "Unknown", "unknown", encapsulated=True, lossy=True)
