"""Whole instances in another transfer syntax than they are stored in, frame by frame while they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from microtome.api.dicomweb.context import DicomwebContext
from microtome.dicom import build, syntaxes, transcode
from microtome.dicom.content import Content, bulk_paths, in_threads
from microtome.dicom.dataset import Dataset
from microtome.dicom.encapsulated import END, item_of
from microtome.dicom.image import PIXEL_DATA, ImageFacts
from microtome.dicom.rows import InstanceRow
from microtome.dicom.sequences import has_large, joined
from microtome.dicom.write import ReadBulk, pixel_data_header, preamble, preamble_pieces, trailer
from microtome.errors import UnsupportedFormat

_PIECE = 1 << 20


async def converted(context: DicomwebContext, row: InstanceRow, target: str) -> AsyncIterator[bytes]:
    """The file in ``target``: explicit little-endian, native or encapsulated, one frame a fragment.

    Raises UnsupportedFormat for frames that cannot be converted.
    """
    content = context.content(row)
    header = await content.header(row)
    values = {bulk: await content.bulk(row, path) for path, (_, bulk) in bulk_paths(header).items()}
    read = values.__getitem__
    if row.pixel is None:
        async for piece in _preamble(content, row, header, target, read):
            yield piece
        yield trailer(header, read=read)
        return
    facts = await context.facts(row)
    source = row.transfer_syntax
    native_source = not syntaxes.find(source).encapsulated
    native = not syntaxes.find(target).encapsulated
    shared = facts.allocated == 1 and facts.pixels % 8 != 0 and row.frames > 1
    if shared and not (native_source and native):
        raise UnsupportedFormat("Frames of single bits that share bytes cannot be converted", feature="1 bit")
    after = transcode.described(facts, source, target)
    header = _described(header, facts, after, target)
    length = _native_length(facts, row.frames) if native else None
    # ``Content.frames`` gives native frames little-endian and each from its first bit.
    held = syntaxes.EXPLICIT_LITTLE if native_source else source

    async def made(number: int) -> bytes:
        data = (await content.frames(row, [number]))[0]
        if held == target:
            return data
        return (await context.workers.run(partial(transcode.transcode, data, facts, held, target))).data

    first = b"" if shared else await made(1)  # what cannot be converted is told before anything is sent
    async for piece in _preamble(content, row, header, target, read):
        yield piece
    floating = facts.kind == "float"
    vr = row.pixel.vr if floating else "OW" if native and after.allocated > 8 else "OB"
    yield pixel_data_header(vr, length, row.pixel.tag if floating else PIXEL_DATA)
    if not native:
        yield item_of(b"")  # the table of offsets stays empty: frames are made while they are sent
    if shared:
        yield (await content.bulk(row, f"{PIXEL_DATA:08X}"))[:length]
    for number in range(1, 1 if shared else row.frames + 1):
        frame = first if number == 1 else await made(number)
        yield frame if native else item_of(frame)
    yield (b"\0" * (length % 2) if length is not None else END) + trailer(header, read=read)


async def _preamble(
    content: Content, row: InstanceRow, header: Dataset, target: str, read: ReadBulk
) -> AsyncIterator[bytes]:
    if not has_large(header):
        yield preamble(header, target, read=read)
        return
    pieces = preamble_pieces(header, target, read=read, items=await content.items(row))
    async for piece in in_threads(joined(pieces, _PIECE)):
        yield piece


def _native_length(facts: ImageFacts, frames: int) -> int:
    """Bytes of native pixel data; frames of single bits share bytes (PS3.5 §8.1.1)."""
    return -(-facts.pixels * frames // 8) if facts.allocated == 1 else facts.nbytes * frames


def _described(header: Dataset, before: ImageFacts, after: ImageFacts, target: str) -> Dataset:
    """The Image Pixel module of the converted frames, and what was lost (PS3.3 §C.7.6.3, §C.7.6.1.1.5)."""
    changes: dict[str, build.Value] = {"PhotometricInterpretation": after.photometric}
    if after.samples > 1:
        changes["PlanarConfiguration"] = int(after.planar)
    if target in transcode.LOSSY_METHODS and before != after:
        changes |= {"LossyImageCompression": "01", "LossyImageCompressionMethod": transcode.LOSSY_METHODS[target]}
    elements = dict(header.elements)
    elements.update((element.tag, element) for element in build.item(changes))
    return Dataset(dict(sorted(elements.items())), header.text)
