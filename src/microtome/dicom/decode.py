"""Frames to samples, exactly as they were stored (PS3.5 §8, Annexes A and G).

Sizes in the stream are compared with those of the data set before memory is taken; what a stream claims never decides
how much that is. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
from numpy.typing import NDArray

from microtome.dicom import streams, syntaxes
from microtome.dicom.image import ImageFacts, Samples
from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat

MAX_FRAME_BYTES = 256 << 20
"""Of one decoded frame."""

_MOST_PER_BYTE = 128
"""Samples a byte of PackBits may stand for at most (PS3.5 §G.3.1), with room for a last short run."""
_EOI = b"\xff\xd9"
_MOST_INFLATED = 1100
"""The same of Deflate."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """(rows, columns, samples) in the type of ``ImageFacts.dtype``, and what the samples mean.

    ``photometric`` is the data set's, except where decoding changed the colour space: RGB after the colour transforms
    of JPEG 2000, YBR_FULL when chroma was spread over all pixels, and what a JPEG stream says of itself.
    """

    array: Samples
    photometric: str


def decode(
    data: bytes,
    facts: ImageFacts,
    transfer_syntax: str,
    *,
    bit: int = 0,
    rgb: bool = False,
    max_bytes: int = MAX_FRAME_BYTES,
) -> Frame:
    """The samples of one frame; bits above the stored ones are cleared or hold the sign.

    ``data`` is the joined fragments of a compressed frame, or the bytes of ``facts.native_range``, whose ``bit`` is
    handed on. ``rgb`` lets the decoder of lossy JPEG convert YCbCr to RGB itself, which is faster, and rounds as
    browsers do.

    Raises CorruptData, UnsupportedFormat, LimitExceeded.
    """
    if facts.nbytes > max_bytes:
        raise LimitExceeded(
            f"A frame of {facts.columns} x {facts.rows} px takes {facts.nbytes} bytes, more than {max_bytes}",
            limit="frame bytes",
            value=facts.nbytes,
        )
    syntax = syntaxes.find(transfer_syntax)
    try:
        match syntax.codec:
            case "":
                frame = native(data, facts, big_endian=syntax.big_endian, bit=bit)
            case "rle":
                frame = _rle(data, facts)
            case "deflate":
                frame = _deflated(data, facts)
            case "jpeg":
                frame = _jpeg(data, facts, rgb=rgb)
            case "jpeg-ls":
                frame = _jpeg_ls(data, facts)
            case "jpeg-2000" | "htj2k":
                frame = _jpeg2000(data, facts)
            case _:
                raise UnsupportedFormat(f"Frames of {syntax.name} cannot be decoded", feature=syntax.uid)
    except (RuntimeError, ValueError, TypeError, MemoryError, OSError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CorruptData(f"A frame of {syntax.name} cannot be decoded: {reason}") from error
    return frame


def can_decode(transfer_syntax: str) -> bool:
    """Whether ``decode`` knows the transfer syntax."""
    return syntaxes.find(transfer_syntax).codec in {"", "rle", "deflate", "jpeg", "jpeg-ls", "jpeg-2000", "htj2k"}


# Native


def native(data: bytes, facts: ImageFacts, *, big_endian: bool = False, bit: int = 0) -> Frame:
    """The samples of a native frame, as ``decode``."""
    if facts.allocated == 1:
        return Frame(_bits(data, facts, bit), facts.photometric)
    array = np.frombuffer(_swapped(data, facts, bit) if big_endian else _whole(data, facts), facts.dtype)
    photometric = facts.photometric
    if photometric == "YBR_FULL_422" and facts.samples == 3:
        array, photometric = _spread(array, facts), "YBR_FULL"
    elif facts.planar:
        planes = array.reshape(facts.samples, facts.rows, facts.columns)
        array = np.ascontiguousarray(np.moveaxis(planes, 0, 2))
    return Frame(_clean(_shaped(array, facts), facts), photometric)


def native_bytes(data: bytes, facts: ImageFacts, *, big_endian: bool = False, bit: int = 0) -> bytes:
    """A native frame as explicit little endian has it: begun at a byte, of whole bytes, the rest as stored."""
    if facts.allocated == 1:
        return np.packbits(_bits(data, facts, bit), bitorder="little").tobytes()
    return _swapped(data, facts, bit) if big_endian else _whole(data, facts)


def _whole(data: bytes, facts: ImageFacts) -> bytes:
    length = -(-facts.native_bits // 8)
    if len(data) < length:
        raise CorruptData(f"A frame ends after {len(data)} of {length} bytes")
    return data if len(data) == length else data[:length]


def _swapped(data: bytes, facts: ImageFacts, bit: int) -> bytes:
    """Explicit VR big endian to little (PS3.5 §7.3, A.3): 8-bit samples in OW lie in swapped pairs.

    ``bit`` is 8 for such a frame of odd length that begins in the middle of a word, whose word the data begins with.
    """
    if facts.allocated == 8:
        if not facts.words:
            return _whole(data, facts)
        pairs = np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes()
        return _whole(pairs[bit // 8 :], facts)
    return np.frombuffer(_whole(data, facts), f">u{facts.allocated // 8}").astype(f"<u{facts.allocated // 8}").tobytes()


def _bits(data: bytes, facts: ImageFacts, bit: int) -> NDArray[np.uint8]:
    if 8 * len(data) < bit + facts.pixels:
        raise CorruptData(f"A frame of {facts.pixels} bits ends after {8 * len(data) - bit}")
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8), count=bit + facts.pixels, bitorder="little")
    return unpacked[bit:].reshape(facts.rows, facts.columns, 1)


def _spread(array: Samples, facts: ImageFacts) -> Samples:
    """Y1 Y2 Cb Cr to Y1 Cb Cr Y2 Cb Cr (PS3.3 §C.7.6.3.1.2)."""
    if facts.pixels % 2:
        raise CorruptData("Pixels of YBR_FULL_422 come in pairs, and the frame has an odd number")
    pairs = array.reshape(-1, 4)
    return pairs[:, [0, 2, 3, 1, 2, 3]].reshape(-1)


def _shaped(array: Samples, facts: ImageFacts) -> Samples:
    return array.reshape(facts.rows, facts.columns, facts.samples)


def _clean(array: Samples, facts: ImageFacts) -> Samples:
    """Bits above the stored ones may hold anything (PS3.5 §8.1.1); they become zero, or the sign."""
    unused = facts.allocated - facts.stored
    if facts.kind == "float" or unused <= 0:
        return array
    integers = cast("NDArray[np.integer]", array)
    made = integers << unused
    made >>= unused
    return made


# Compressed


def _rle(data: bytes, facts: ImageFacts) -> Frame:
    """PS3.5 §G: a header of 16 words, then a segment for each byte of a sample, the most significant first."""
    import imagecodecs

    width = max(1, facts.allocated // 8)
    header = np.frombuffer(data[:64], "<u4")
    count = facts.samples * width
    if len(header) < 16 or int(header[0]) != count:
        raise CorruptData(f"The header of an RLE frame does not name its {count} segments")
    offsets = [*(int(each) for each in header[1 : 1 + count]), len(data)]
    if offsets[0] < 64 or any(end <= begin for begin, end in pairwise(offsets)):
        raise CorruptData("The segments of an RLE frame do not follow one another")
    if facts.nbytes > len(data) * _MOST_PER_BYTE:
        raise CorruptData(f"An RLE frame of {len(data)} bytes cannot hold {facts.nbytes}")
    planes = np.zeros((count, facts.pixels), np.uint8)
    for segment, plane in zip(pairwise(offsets), planes, strict=True):
        unpacked = imagecodecs.packbits_decode(data[segment[0] : segment[1]], out=bytearray(facts.pixels + 2))
        if facts.allocated == 1 and len(unpacked) in {-(-facts.pixels // 8), -(-facts.pixels // 16) * 2}:
            unpacked = _bits(bytes(unpacked), facts, 0).tobytes()
        if len(unpacked) < facts.pixels:
            raise CorruptData(f"A segment of an RLE frame holds {len(unpacked)} of {facts.pixels} bytes")
        plane[:] = np.frombuffer(unpacked, np.uint8, facts.pixels)
    # (sample, byte, pixel) with the bytes of a sample in little-endian order, to (pixel, sample, byte).
    ordered = np.ascontiguousarray(planes.reshape(facts.samples, width, facts.pixels)[:, ::-1].transpose(2, 0, 1))
    return Frame(_clean(_shaped(ordered.reshape(-1).view(facts.dtype), facts), facts), facts.photometric)


def _deflated(data: bytes, facts: ImageFacts) -> Frame:
    """PS3.5 §A.4.13: a native frame as one raw Deflate stream."""
    length = -(-facts.native_bits // 8)
    if length > len(data) * _MOST_INFLATED:
        raise CorruptData(f"A deflated frame of {len(data)} bytes cannot hold {length}")
    try:
        return native(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, length), facts)
    except zlib.error as error:
        raise CorruptData(f"A deflated frame cannot be inflated: {error}") from error


def _jpeg(data: bytes, facts: ImageFacts, *, rgb: bool) -> Frame:
    import imagecodecs

    stream = _checked(streams.jpeg(data), facts)
    if stream.components == 1:
        return Frame(_conformed(imagecodecs.jpeg8_decode(data), facts, facts.stored), facts.photometric)
    stored = stream_color(stream, facts.photometric)
    lossless = stream.process in {0xC3, 0xCB}
    spread = rgb and stored == "YCBCR" and not lossless and stream.precision == 8
    space = stored if stream.components == 3 else "CMYK"
    wanted = "RGB" if spread else space
    array = imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace=wanted)
    photometric = facts.photometric
    if stream.components == 3:
        photometric = "RGB" if wanted == "RGB" else "YBR_FULL"
    return Frame(_conformed(array, facts, facts.stored), photometric)


def stream_color(stream: streams.Stream, photometric: str) -> str:
    """RGB or YCBCR: what three components of a JPEG stream are. The stream knows better than the data set."""
    if stream.color:
        return stream.color.upper()
    return "YCBCR" if photometric.startswith("YBR") else "RGB"


def _jpeg_ls(data: bytes, facts: ImageFacts) -> Frame:
    import imagecodecs

    stream = _checked(streams.jpeg(data), facts)
    if stream.process != 0xF7:
        raise CorruptData("A frame of JPEG-LS holds another kind of JPEG")
    # Behind a stream that breaks off the decoder would count to 2^32; it stops at a marker.
    array = imagecodecs.jpegls_decode(data if data[-16:].rstrip(b"\0").endswith(_EOI) else data + _EOI)
    # JPEG-LS knows no sign: it is the highest bit of what it calls a sample.
    return Frame(_conformed(array, facts, stream.precision if facts.signed else 0), facts.photometric)


def _jpeg2000(data: bytes, facts: ImageFacts) -> Frame:
    """JPEG 2000 and HTJ2K by OpenJPEG.

    OpenJPH is three times as fast for HTJ2K, but lossy samples beyond their range wrap around, and behind a broken
    stream it leaves memory as it found it.
    """
    import imagecodecs

    stream = _checked(streams.jpeg2000(data), facts)
    at = streams.codestream(data)
    array = imagecodecs.jpeg2k_decode(data[at:] if at else data, planar=False, numthreads=1)
    mended = stream.signed != facts.signed and facts.monochrome
    photometric = "RGB" if facts.photometric in {"YBR_RCT", "YBR_ICT"} else facts.photometric
    return Frame(_conformed(np.asarray(array), facts, stream.precision if mended else 0), photometric)


def _checked(stream: streams.Stream, facts: ImageFacts) -> streams.Stream:
    """Compare the stream with the data set before it is decoded."""
    if (stream.rows, stream.columns) != (facts.rows, facts.columns):
        raise CorruptData(
            f"A frame says it is {stream.columns} x {stream.rows} px where the file says"
            f" {facts.columns} x {facts.rows} px"
        )
    if stream.components != facts.samples:
        raise CorruptData(f"A frame has {stream.components} components where the file says {facts.samples}")
    if not 1 <= stream.precision <= max(8, facts.allocated):
        raise CorruptData(f"A frame has samples of {stream.precision} bits where the file says {facts.allocated}")
    return stream


def _conformed(array: Samples, facts: ImageFacts, depth: int) -> Samples:
    """A decoder's array in the type of the data set; ``depth`` bits of a sample are kept (0: all), with their sign."""
    expected = facts.pixels * facts.samples
    if array.size != expected or array.dtype.kind not in "iu":
        raise CorruptData(f"A decoded frame has {array.size} samples where {expected} are expected")
    size = array.dtype.itemsize
    signed = facts.signed and facts.allocated > 1
    integers = cast("NDArray[np.integer]", np.ascontiguousarray(array).view(f"{'i' if signed else 'u'}{size}"))
    unused = 8 * size - depth
    if depth and unused > 0:
        integers = (integers << unused) >> unused
    return _shaped(integers.astype(facts.dtype, copy=False), facts)
