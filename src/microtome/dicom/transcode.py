"""Frames from one transfer syntax to another (PS3.5 §8.2, §A.4). Lossless ones keep every stored sample.

Everything here blocks: call it in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from microtome.dicom import decode, syntaxes
from microtome.dicom.image import ImageFacts, Samples
from microtome.errors import UnsupportedFormat
from microtome.pixels.codecs import ycbcr_to_rgb

LOSSY_METHODS: Mapping[str, str] = MappingProxyType(
    {
        syntaxes.JPEG_BASELINE: "ISO_10918_1",
        syntaxes.JPEG_EXTENDED: "ISO_10918_1",
        syntaxes.JPEG_LS_NEAR: "ISO_14495_1",
        syntaxes.JPEG_2000: "ISO_15444_1",
        syntaxes.HTJ2K: "ISO_15444_15",
    }
)
"""Lossy Image Compression Method (0028,2114) of the targets that lose something (PS3.3 §C.7.6.1.1.5.1)."""

_QUALITY = 90
_PSNR = 55
"""Of JPEG 2000, in dB."""
_STEP = 1 / 512
"""Quantisation step of HTJ2K, in parts of the full range."""
_NEAR = 2
"""The largest error of near-lossless JPEG-LS, in steps of a sample."""
_MAX_RLE_SEGMENTS = 15
_HEADER = 1024


@dataclass(frozen=True, slots=True)
class Transcoded:
    """A frame in its new encoding, and what the Image Pixel module must say of it."""

    data: bytes
    facts: ImageFacts


def targets(facts: ImageFacts, source: str) -> frozenset[str]:
    """The transfer syntaxes frames of ``source`` can be converted to; the source is among them only when it is one."""
    if not decode.can_decode(source):
        return frozenset()
    found = {syntaxes.EXPLICIT_LITTLE}
    if facts.kind == "float" or facts.allocated == 1:
        return frozenset(found)
    if facts.samples * facts.allocated // 8 <= _MAX_RLE_SEGMENTS and facts.samples != 4:
        found.add(syntaxes.RLE)
    if facts.allocated <= 16 and facts.samples != 4:
        found |= {
            syntaxes.JPEG_LOSSLESS, syntaxes.JPEG_LOSSLESS_SV1, syntaxes.JPEG_LS, syntaxes.JPEG_2000_LOSSLESS,
            syntaxes.HTJ2K_LOSSLESS, syntaxes.HTJ2K_LOSSLESS_RPCL,
        }  # fmt: skip
        if facts.photometric != "PALETTE COLOR":
            # Numbers of colours have no neighbours an error could lead to. JPEG may err beyond fewer stored bits.
            found |= {syntaxes.JPEG_LS_NEAR, syntaxes.JPEG_2000, syntaxes.HTJ2K}
            if facts.allocated == facts.stored == 8 and not facts.signed:
                found.add(syntaxes.JPEG_BASELINE)
            if facts.allocated == 16 and facts.stored == 12 and facts.samples == 1 and not facts.signed:
                found.add(syntaxes.JPEG_EXTENDED)
    return frozenset(found)


def described(facts: ImageFacts, source: str, target: str) -> ImageFacts:
    """What the Image Pixel module must say after frames went from ``source`` to ``target``."""
    if source == target or (_native(source) and _native(target)):
        return facts
    space = _decoded_space(facts, source)
    if facts.samples == 3 and space == "RGB":
        space = {
            syntaxes.JPEG_BASELINE: "YBR_FULL_422",
            syntaxes.JPEG_2000: "YBR_ICT",
            syntaxes.HTJ2K: "YBR_ICT",
            syntaxes.JPEG_2000_LOSSLESS: "YBR_RCT",
            syntaxes.HTJ2K_LOSSLESS: "YBR_RCT",
            syntaxes.HTJ2K_LOSSLESS_RPCL: "YBR_RCT",
        }.get(target, "RGB")
    elif facts.samples == 3 and target == syntaxes.JPEG_BASELINE:
        space = "YBR_FULL_422"
    return replace(facts, photometric=space, planar=False)


def transcode(
    data: bytes, facts: ImageFacts, source: str, target: str, *, bit: int = 0, quality: int = _QUALITY
) -> Transcoded:
    """One frame in another transfer syntax, one of ``targets``; ``data`` and ``bit`` as for ``decode.decode``.

    A lossy JPEG frame becomes RGB; of everything else the colour space stays. ``quality`` is of lossy JPEG, 1 to 100.

    Raises UnsupportedFormat, CorruptData, LimitExceeded.
    """
    if source == target and not _native(source):
        return Transcoded(data, facts)
    if target not in targets(facts, source):
        raise UnsupportedFormat(
            f"Frames of {syntaxes.find(source).name} cannot be converted to {syntaxes.find(target).name}",
            feature=target,
        )
    after = described(facts, source, target)
    if _native(source) and _native(target):
        big_endian = syntaxes.find(source).big_endian
        return Transcoded(decode.native_bytes(data, facts, big_endian=big_endian, bit=bit), after)
    frame = decode.decode(data, facts, source, bit=bit, rgb=True)
    array, space = frame.array, frame.photometric
    if _becomes_rgb(facts, source) and space.startswith("YBR"):
        array, space = _rgb(array), "RGB"
    if target == syntaxes.EXPLICIT_LITTLE:
        if facts.allocated == 1:
            return Transcoded(np.packbits(cast("NDArray[np.uint8]", array), bitorder="little").tobytes(), after)
        return Transcoded(array.tobytes(), after)
    return Transcoded(encode(array, facts, target, rgb=space == "RGB", quality=quality), after)


def encode(array: Samples, facts: ImageFacts, target: str, *, rgb: bool, quality: int = _QUALITY) -> bytes:
    """Samples (rows, columns, samples) as a frame of a compressed ``target``; ``rgb``: three of them are that."""
    import imagecodecs

    color = facts.samples == 3
    plane = np.ascontiguousarray(array if color else array[:, :, 0])
    unsigned = plane.view(f"u{plane.dtype.itemsize}")
    depth = facts.stored if facts.allocated == 8 else max(9, facts.stored)
    unused = facts.allocated - facts.stored  # Errors are measured by the encoders in parts of the allocated range.
    space = ("RGB" if rgb else "YCBCR") if color else None
    match target:
        case syntaxes.RLE:
            return _rle(array, facts)
        case syntaxes.JPEG_LOSSLESS | syntaxes.JPEG_LOSSLESS_SV1:
            # Not ljpeg_encode, whose predictor is the sixth. JPEG knows no sign: it is the highest of the stored bits.
            masked = unsigned & np.array((1 << depth) - 1, unsigned.dtype)
            bits = depth if facts.allocated == 16 else None
            # For YCbCr the encoder names two Huffman tables and uses one, so that no decoder can read it.
            plain = "UNKNOWN" if space == "YCBCR" else space
            return bytes(
                imagecodecs.jpeg8_encode(
                    masked, lossless=True, predictor=1, bitspersample=bits, colorspace=plain, outcolorspace=plain
                )
            )
        case syntaxes.JPEG_LS:
            return without_spiff(bytes(imagecodecs.jpegls_encode(unsigned, out=_room(unsigned))))
        case syntaxes.JPEG_LS_NEAR:
            # An error must not lead out of the stored bits, nor over the sign.
            whole = facts.stored == facts.allocated and not facts.signed
            level = _NEAR if whole else 0
            return without_spiff(bytes(imagecodecs.jpegls_encode(unsigned, level=level, out=_room(unsigned))))
        case syntaxes.JPEG_2000_LOSSLESS | syntaxes.JPEG_2000:
            lossless = target == syntaxes.JPEG_2000_LOSSLESS
            return bytes(
                imagecodecs.jpeg2k_encode(
                    plane,
                    level=0 if lossless else _PSNR + round(6.02 * unused),
                    reversible=lossless,
                    codecformat="j2k",
                    bitspersample=None if facts.allocated == facts.stored else facts.stored,
                    mct=rgb,
                )
            )
        case syntaxes.HTJ2K_LOSSLESS | syntaxes.HTJ2K_LOSSLESS_RPCL:
            lengths = target == syntaxes.HTJ2K_LOSSLESS_RPCL  # the marker that syntax asks for (PS3.5 §8.2.15)
            return bytes(imagecodecs.htj2k_encode(plane, reversible=True, rgb=rgb if color else None, tlm=lengths))
        case syntaxes.HTJ2K:
            return bytes(
                imagecodecs.htj2k_encode(
                    plane, level=_STEP / (1 << unused), reversible=False, rgb=rgb if color else None
                )
            )
        case syntaxes.JPEG_BASELINE:
            sampling = "422" if color else None
            return bytes(
                imagecodecs.jpeg8_encode(
                    plane, level=quality, colorspace=space, outcolorspace="YCBCR" if color else None,
                    subsampling=sampling,
                )
            )  # fmt: skip
        case syntaxes.JPEG_EXTENDED:
            return bytes(imagecodecs.jpeg8_encode(plane, level=quality, bitspersample=12))
        case _:
            raise UnsupportedFormat(f"Frames cannot be encoded as {syntaxes.find(target).name}", feature=target)


def _room(samples: Samples) -> int:
    """Bytes for a JPEG-LS stream: noise takes more than its samples did, and the encoder's own buffer is too small."""
    return 2 * samples.nbytes + _HEADER


def without_spiff(data: bytes) -> bytes:
    """A JPEG-LS stream without the SPIFF header its encoder writes (T.84 §F.1), which a DICOM frame has none of."""
    at = 2
    while data[at : at + 2] == b"\xff\xe8":
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:2] + data[at:]


def _rle(array: Samples, facts: ImageFacts) -> bytes:
    """PS3.5 §G: a segment for each byte of a sample, the most significant first; no run crosses the end of a row."""
    import imagecodecs

    width = facts.allocated // 8
    octets = np.ascontiguousarray(array).view(np.uint8).reshape(facts.rows, facts.columns, facts.samples, width)
    segments: list[bytes] = []
    for sample in range(facts.samples):
        for place in reversed(range(width)):
            plane = np.ascontiguousarray(octets[:, :, sample, place])
            segment = bytes(imagecodecs.packbits_encode(plane, axis=1))
            segments.append(segment + b"\0" * (len(segment) % 2))
    header = np.zeros(16, "<u4")
    header[0] = len(segments)
    header[1 : 1 + len(segments)] = 64 + np.cumsum([0, *(len(each) for each in segments[:-1])])
    return header.tobytes() + b"".join(segments)


def _native(syntax: str) -> bool:
    return not syntaxes.find(syntax).encapsulated


def _becomes_rgb(facts: ImageFacts, source: str) -> bool:
    found = syntaxes.find(source)
    return facts.samples == 3 and found.codec == "jpeg" and found.lossy


def _decoded_space(facts: ImageFacts, source: str) -> str:
    """The photometric interpretation of what ``transcode`` decodes, as far as the data set tells."""
    if _becomes_rgb(facts, source) or facts.photometric in {"YBR_RCT", "YBR_ICT"}:
        return "RGB"
    return "YBR_FULL" if facts.photometric == "YBR_FULL_422" else facts.photometric


def _rgb(array: Samples) -> Samples:
    if array.dtype != np.uint8:
        raise UnsupportedFormat(
            "Colours of more than 8 bits in lossy JPEG cannot be converted", feature="12-bit colour"
        )
    return ycbcr_to_rgb(cast("NDArray[np.uint8]", array))
