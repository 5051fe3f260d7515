"""Any slide as DICOM VL Whole Slide Microscopy instances (PS3.3 §A.32.8): which there are, and their headers.

One instance for each level of the pyramid, one for each picture beside it; tiles become frames. JPEG and JPEG 2000
tiles are frames as they are stored where DICOM allows their colours, everything else is native pixels. UIDs are made
of the slide's identity, so that every process and every start gives the same; those of instances also of the version
of the file, because a SOP instance never changes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import numpy as np

from microtome.dicom.build import Value, code, dataset, decimal, item
from microtome.dicom.dataset import Dataset
from microtome.dicom.rows import WHOLE_SLIDE
from microtome.model import EncodedTile, Raster, Size, SlideInfo, TileIndex

NATIVE, JPEG, JPEG_2000_LOSSLESS, JPEG_2000 = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
)
MOST_FRAMES = (1 << 31) - 1
"""Number of Frames is an integer string of 32 bits."""

Flavour = Literal["VOLUME", "LABEL", "OVERVIEW", "THUMBNAIL"]
_FLAVOURS: dict[str, Flavour] = {"label": "LABEL", "macro": "OVERVIEW", "thumbnail": "THUMBNAIL"}
_UNKNOWN_SPACING_UM = 1.0
"""Said where a file does not tell: readers need a number, and the picture is as large as its px."""
_UNKNOWN_TIME = "19000101000000"
_APERIO_DATE = re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{2}|[0-9]{4})")
_TIFF_TIME = re.compile(r"([0-9]{4}):([0-9]{2}):([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")


@dataclass(frozen=True, slots=True)
class Coding:
    """How the frames of an instance are coded. ``lossy``: DICOM's name of the method, "" for lossless; native frames
    have one when they were made of tiles that had lost something.

    ``ratio``: how much smaller one tile is than its samples, which stands for all.
    """

    transfer_syntax: str = NATIVE
    photometric: str = "RGB"
    lossy: str = ""
    ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is known of patient, study and specimen: attributes by keyword, as a table or a mapper gives them.

    ``Staining`` is the name of a stain, ``PrimaryAnatomicStructure`` a code as value^scheme^meaning.
    """

    attributes: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for all of it."""
        text = "\0".join(f"{name}={value}" for name, value in sorted(self.attributes.items()))
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class SlideIdentity:
    """``id`` in the catalogue, ``version`` of its file (an ETag), ``name`` for people."""

    id: str
    version: str
    name: str

    def uid(self, what: str, *, versioned: bool = False) -> str:
        """A UID under 2.25 (PS3.5 §B.2) that stands for a part of the slide."""
        return _uid_of(f"microtome\0{what}\0{self.id}\0{self.version if versioned else ''}")

    @property
    def study_uid(self) -> str:
        """The study."""
        return self.uid("study")

    @property
    def series_uid(self) -> str:
        """The only series of the study."""
        return self.uid("series")


def _uid_of(text: str) -> str:
    digest = bytearray(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x80  # RFC 9562 §5.8: a UUID of version 8, made by a rule of our own
    digest[8] = digest[8] & 0x3F | 0x80
    return f"2.25.{int.from_bytes(digest, 'big')}"


def study_uid(identity: SlideIdentity, told: Mapping[str, str]) -> str:
    """The study of a slide: the one it is told to be of, else one for all slides of the same examination.

    That is told by the accession number (of a patient), else by the patient with date and number of the study. Slides
    that nothing is known of have a study of their own.
    """
    if uid := told.get("StudyInstanceUID"):
        return uid
    patient = told.get("PatientID", "")
    if accession := told.get("AccessionNumber"):
        return _uid_of(f"microtome\0accession\0{patient}\0{accession}")
    if patient:
        return _uid_of(f"microtome\0patient\0{patient}\0{told.get('StudyDate', '')}\0{told.get('StudyID', '')}")
    return identity.study_uid


@dataclass(frozen=True, slots=True)
class VirtualInstance:
    """One instance. ``level`` is None for pictures beside the pyramid, which ``associated`` names then."""

    sop_uid: str
    number: int
    flavour: Flavour
    size: Size
    tile: Size
    channels: int
    focal_planes: int
    paths: int
    coding: Coding
    level: int | None = None
    associated: str = ""

    @property
    def columns(self) -> int:
        """Tiles side by side."""
        return -(-self.size.width // self.tile.width)

    @property
    def rows(self) -> int:
        """Tiles one above the other."""
        return -(-self.size.height // self.tile.height)

    @property
    def frames(self) -> int:
        """Frames of all planes and optical paths."""
        return self.columns * self.rows * self.focal_planes * self.paths

    def place(self, frame: int) -> tuple[TileIndex, int]:
        """Which tile, and which channel of it, frame ``frame`` is, from 0 (TILED_FULL, PS3.3 §C.7.6.17.3).

        Columns run fastest, then rows, focal planes, optical paths.
        """
        rest, column = divmod(frame, self.columns)
        rest, row = divmod(rest, self.rows)
        path, plane = divmod(rest, self.focal_planes)
        return TileIndex(self.level or 0, column, row, plane), path

    def frame_of(self, index: TileIndex, path: int = 0) -> int:
        """The inverse of ``place``."""
        return ((path * self.focal_planes + index.z) * self.rows + index.row) * self.columns + index.column


def is_possible(info: SlideInfo) -> bool:
    """Whether a slide can be such instances: unsigned samples of 8 or 16 bits, and pixels at all."""
    return bool(info.channels) and info.dtype in {"uint8", "uint16"}


def coding_of(tile: EncodedTile | Raster, channels: int) -> Coding:
    """How frames are coded, told from one tile (or picture) of a level."""
    if isinstance(tile, EncodedTile) and tile.color != "other":
        samples = tile.size.width * tile.size.height * (1 if tile.color == "gray" else 3)
        ratio = round(samples / max(1, len(tile.data)), 2)
        if tile.media_type == "image/jpeg":
            colour = {"gray": "MONOCHROME2", "rgb": "RGB", "ycbcr": "YBR_FULL_422"}[tile.color]
            return Coding(JPEG, colour, "ISO_10918_1", ratio)
        if tile.media_type == "image/j2c":
            return _jpeg_2000(tile, ratio)
    return Coding(NATIVE, "RGB" if channels == 3 else "MONOCHROME2", "")


def _jpeg_2000(tile: EncodedTile, ratio: float) -> Coding:
    """By the coding style of the codestream (ISO/IEC 15444-1 §A.6.1): which wavelet, and whether colours are mixed."""
    at = tile.data.find(b"\xff\x52", 0, 4096)
    style = tile.data[at + 4 : at + 14] if at > 0 else b""
    if len(style) < 10:
        return Coding(NATIVE, "MONOCHROME2" if tile.color == "gray" else "RGB")
    mixed, lossless = style[4] == 1, style[9] == 1
    lossy = "" if lossless else "ISO_15444_1"
    colour = "MONOCHROME2" if tile.color == "gray" else "RGB"
    if mixed:
        colour = "YBR_RCT" if lossless else "YBR_ICT"
    elif tile.color == "ycbcr":
        # Colours turned before they were coded: DICOM has no name for such frames (PS3.5 §8.2.4).
        return Coding(NATIVE, "RGB", lossy, ratio)
    return Coding(JPEG_2000_LOSSLESS if lossless else JPEG_2000, colour, lossy, ratio)


def instances(
    identity: SlideIdentity,
    info: SlideInfo,
    codings: Mapping[int | str, Coding],
    *,
    label: bool = True,
) -> tuple[VirtualInstance, ...]:
    """The instances of a slide: levels from the finest down, then the pictures ``codings`` knows.

    ``codings`` holds one for each level and each name of a picture; what it lacks is left out. Without ``label``,
    neither the label nor an overview that may show it is given away.
    """
    colour = tuple(channel.name for channel in info.channels) == ("R", "G", "B")
    samples, paths = (3, 1) if colour else (1, len(info.channels))
    found: list[VirtualInstance] = []
    for number, level in enumerate(info.levels):
        if number in codings:
            found.append(
                VirtualInstance(
                    identity.uid(f"level {number}", versioned=True), len(found) + 1, "VOLUME", level.size,
                    level.tile_size, samples, info.focal_planes, paths, codings[number], level=number,
                )
            )  # fmt: skip
    for image in info.associated:
        flavour = _FLAVOURS.get(image.name)
        if flavour is None or image.name not in codings or (not label and flavour in {"LABEL", "OVERVIEW"}):
            continue
        gray = codings[image.name].photometric == "MONOCHROME2"
        found.append(
            VirtualInstance(
                identity.uid(f"picture {image.name}", versioned=True), len(found) + 1, flavour, image.size, image.size,
                1 if gray else 3, 1, 1, codings[image.name], associated=image.name,
            )
        )  # fmt: skip
    return tuple(each for each in found if each.frames <= MOST_FRAMES)


def header(
    identity: SlideIdentity, info: SlideInfo, instance: VirtualInstance, annotation: Annotation | None = None
) -> Dataset:
    """The data set of an instance without its pixel data."""
    told = dict(annotation.attributes) if annotation else {}
    values: dict[str, Value] = {
        **_patient_and_study(identity, told),
        **_series(identity, info, told),
        **_image(identity, info, instance, told),
        **_functional_groups(identity, info, instance),
        **_optical_paths(info, instance),
        **_specimen(identity, told),
    }
    return dataset(values)


def spacing_um(info: SlideInfo, instance: VirtualInstance) -> tuple[float, float]:
    """(x, y) µm per px of an instance; of unknown slides 1 µm at full resolution.

    Levels and the thumbnail show all of the slide; how large a label is, nobody tells.
    """
    spacing = info.spacing_um
    if spacing is None or not all(math.isfinite(each) and each > 0 for each in spacing):
        spacing = (_UNKNOWN_SPACING_UM, _UNKNOWN_SPACING_UM)
    if instance.flavour in {"LABEL", "OVERVIEW"}:
        return spacing
    full, size = info.size, instance.size
    return spacing[0] * full.width / size.width, spacing[1] * full.height / size.height


# -- modules ----------------------------------------------------------------------------------------------------------


def _patient_and_study(identity: SlideIdentity, told: Mapping[str, str]) -> dict[str, Value]:
    """Patient (PS3.3 §C.7.1.1) and General Study (§C.7.2.1); unknown values of type 2 stay empty."""
    uid = study_uid(identity, told)
    return {
        "PatientName": told.get("PatientName", ""),
        "PatientID": told.get("PatientID", ""),
        "PatientBirthDate": told.get("PatientBirthDate", ""),
        "PatientSex": told.get("PatientSex", ""),
        "StudyInstanceUID": uid,
        "StudyDate": told.get("StudyDate", ""),
        "StudyTime": told.get("StudyTime", ""),
        "ReferringPhysicianName": told.get("ReferringPhysicianName", ""),
        "StudyID": told.get("StudyID", ""),
        "AccessionNumber": told.get("AccessionNumber", ""),
        "StudyDescription": told.get("StudyDescription") or ("" if uid != identity.study_uid else identity.name[:64]),
    }


def _series(identity: SlideIdentity, info: SlideInfo, told: Mapping[str, str]) -> dict[str, Value]:
    """General Series, Frame of Reference, (Enhanced) General Equipment (PS3.3 §C.7.3.1, C.7.4.1, C.7.5)."""
    return {
        "Modality": "SM",
        "SeriesInstanceUID": identity.series_uid,
        "SeriesNumber": 1,
        "SeriesDescription": told.get("SeriesDescription") or identity.name[:64],
        "FrameOfReferenceUID": identity.uid("frame of reference"),
        "PositionReferenceIndicator": "SLIDE_CORNER",
        "Manufacturer": (info.vendor or "unknown")[:64],
        "ManufacturerModelName": info.format_name[:64] or "unknown",
        "DeviceSerialNumber": info.properties.get("aperio.ScanScope ID", "unknown")[:64],
        "SoftwareVersions": "microtome",
    }


def _image(
    identity: SlideIdentity, info: SlideInfo, instance: VirtualInstance, told: Mapping[str, str]
) -> dict[str, Value]:
    """SOP Common, Image Pixel and Whole Slide Microscopy Image (PS3.3 §C.12.1, C.7.6.3, C.8.12.4)."""
    full = instance.level == 0 or instance.level is None
    bits = 8 * np.dtype(info.dtype).itemsize if instance.level is not None else 8
    mono = instance.channels == 1
    coding = instance.coding
    scanned = told.get("AcquisitionDateTime") or _scanned(info)
    spacing = spacing_um(info, instance)
    values: dict[str, Value] = {
        "ImageType": ("ORIGINAL" if full else "DERIVED", "PRIMARY", instance.flavour, "NONE" if full else "RESAMPLED"),
        "SOPClassUID": WHOLE_SLIDE,
        "SOPInstanceUID": instance.sop_uid,
        "InstanceNumber": instance.number,
        "ContentDate": scanned[:8],
        "ContentTime": scanned[8:],
        "AcquisitionDateTime": scanned,
        "AcquisitionContextSequence": (),
        "SamplesPerPixel": instance.channels,
        "PhotometricInterpretation": coding.photometric,
        "NumberOfFrames": instance.frames,
        "Rows": instance.tile.height,
        "Columns": instance.tile.width,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "BurnedInAnnotation": "YES" if instance.flavour in {"LABEL", "OVERVIEW"} else "NO",
        "LossyImageCompression": "01" if coding.lossy else "00",
        "VolumetricProperties": "VOLUME",
        "ImagedVolumeWidth": instance.size.width * spacing[0] / 1000,
        "ImagedVolumeHeight": instance.size.height * spacing[1] / 1000,
        "ImagedVolumeDepth": 1.0,
        "TotalPixelMatrixColumns": instance.size.width,
        "TotalPixelMatrixRows": instance.size.height,
        "TotalPixelMatrixFocalPlanes": instance.focal_planes,
        "TotalPixelMatrixOriginSequence": (
            item(
                {
                    "XOffsetInSlideCoordinateSystem": decimal(instance.size.height * spacing[1] / 1000),
                    "YOffsetInSlideCoordinateSystem": decimal(instance.size.width * spacing[0] / 1000),
                }
            ),
        ),
        # The label to the left, as scanners put it: x grows upwards in the picture, y to the left.
        "ImageOrientationSlide": ("0", "-1", "0", "-1", "0", "0"),
        "SpecimenLabelInImage": "YES" if instance.flavour in {"LABEL", "OVERVIEW"} else "NO",
        "FocusMethod": "AUTO",
        "ExtendedDepthOfField": "NO",
    }
    if coding.lossy:
        values |= {"LossyImageCompressionMethod": coding.lossy, "LossyImageCompressionRatio": decimal(coding.ratio)}
    if instance.flavour == "LABEL":
        values |= {"LabelText": told.get("LabelText", ""), "BarcodeValue": told.get("BarcodeValue", "")}
    if mono:
        values |= {"PresentationLUTShape": "IDENTITY", "RescaleIntercept": "0", "RescaleSlope": "1"}
    else:
        values["PlanarConfiguration"] = 0
    return values


def _scanned(info: SlideInfo) -> str:
    """When the slide was scanned, YYYYMMDDHHMMSS, as the file tells; a time nobody takes for real otherwise."""
    if found := _APERIO_DATE.fullmatch(info.properties.get("aperio.Date", "")):
        month, day, year = found.groups()
        year = year if len(year) == 4 else f"{'20' if year < '80' else '19'}{year}"
        time = info.properties.get("aperio.Time", "").replace(":", "")
        return f"{year}{month}{day}{time if time.isdigit() and len(time) == 6 else '000000'}"
    if found := _TIFF_TIME.fullmatch(info.properties.get("tiff.DateTime", "")):
        return "".join(found.groups())
    return _UNKNOWN_TIME


def _functional_groups(identity: SlideIdentity, info: SlideInfo, instance: VirtualInstance) -> dict[str, Value]:
    """Multi-frame Dimension and Functional Groups of TILED_FULL (PS3.3 §C.7.6.17, C.7.6.16)."""
    x, y = spacing_um(info, instance)
    image_type = ("ORIGINAL" if instance.level in {0, None} else "DERIVED", "PRIMARY", instance.flavour)
    resampled = "NONE" if instance.level in {0, None} else "RESAMPLED"
    shared: dict[str, Value] = {
        "PixelMeasuresSequence": (
            item(
                {
                    "PixelSpacing": (decimal(y / 1000), decimal(x / 1000)),
                    "SliceThickness": "0.001",
                    **({"SpacingBetweenSlices": "0.001"} if instance.focal_planes > 1 else {}),
                }
            ),
        ),
        "WholeSlideMicroscopyImageFrameTypeSequence": (item({"FrameType": (*image_type, resampled)}),),
    }
    if instance.paths == 1:
        shared["OpticalPathIdentificationSequence"] = (item({"OpticalPathIdentifier": "1"}),)
    organization = identity.uid("dimensions")
    return {
        "DimensionOrganizationSequence": (item({"DimensionOrganizationUID": organization}),),
        "DimensionOrganizationType": "TILED_FULL",
        "DimensionIndexSequence": tuple(
            item(
                {
                    "DimensionOrganizationUID": organization,
                    "DimensionIndexPointer": pointer,
                    "FunctionalGroupPointer": b"\x48\x00\x1a\x02",
                }
            )
            for pointer in (b"\x48\x00\x1e\x02", b"\x48\x00\x1f\x02")
        ),
        "SharedFunctionalGroupsSequence": (item(shared),),
    }


def _optical_paths(info: SlideInfo, instance: VirtualInstance) -> dict[str, Value]:
    """Optical Path (PS3.3 §C.8.12.5): one for colour, one for each channel of fluorescence."""
    colour = instance.channels == 3
    fluorescent = instance.paths > 1
    sequence: list[Dataset] = []
    for path in range(instance.paths):
        values: dict[str, Value] = {"OpticalPathIdentifier": str(path + 1)}
        if fluorescent:
            values["OpticalPathDescription"] = info.channels[path].name[:64]
            values["IlluminationTypeCodeSequence"] = code("111743", "DCM", "Epifluorescence illumination")
        else:
            values["IlluminationTypeCodeSequence"] = code("111744", "DCM", "Brightfield illumination")
        values["IlluminationColorCodeSequence"] = code("414298005", "SCT", "Full Spectrum")
        if info.magnification is not None and math.isfinite(info.magnification) and info.magnification > 0:
            values["ObjectiveLensPower"] = decimal(info.magnification)
        if colour:
            values["ICCProfile"] = info.icc_profile or _srgb()
        sequence.append(item(values))
    return {"NumberOfOpticalPaths": instance.paths, "OpticalPathSequence": tuple(sequence)}


def _specimen(identity: SlideIdentity, told: Mapping[str, str]) -> dict[str, Value]:
    """Specimen (PS3.3 §C.7.6.22), with the slide's name where nobody told a better one."""
    container = told.get("ContainerIdentifier") or identity.name[:64]
    specimen_id = told.get("SpecimenIdentifier") or container
    specimen: dict[str, Value] = {
        "SpecimenIdentifier": specimen_id,
        "SpecimenUID": told.get("SpecimenUID") or identity.uid("specimen"),
        "IssuerOfTheSpecimenIdentifierSequence": (),
        "SpecimenPreparationSequence": _preparation(specimen_id, told.get("Staining", "")),
    }
    for keyword in ("SpecimenShortDescription", "SpecimenDetailedDescription"):
        if keyword in told:
            specimen[keyword] = told[keyword]
    if anatomy := told.get("PrimaryAnatomicStructure"):
        value, scheme, meaning = anatomy.split("^")
        specimen["PrimaryAnatomicStructureSequence"] = code(value, scheme, meaning)
    return {
        "ContainerIdentifier": container,
        "IssuerOfTheContainerIdentifierSequence": (),
        "ContainerTypeCodeSequence": code("433466003", "SCT", "Microscope slide"),
        "SpecimenDescriptionSequence": (item(specimen),),
    }


def _preparation(specimen: str, staining: str) -> tuple[Dataset, ...]:
    """The staining as a step of the preparation (PS3.16 TID 8001, TID 8003), when it is known."""
    if not staining:
        return ()
    step = (
        item({"ValueType": "TEXT", "ConceptNameCodeSequence": code("121041", "DCM", "Specimen Identifier"),
              "TextValue": specimen}),
        item({"ValueType": "CODE", "ConceptNameCodeSequence": code("111701", "DCM", "Processing type"),
              "ConceptCodeSequence": code("127790008", "SCT", "Staining")}),
        item({"ValueType": "TEXT", "ConceptNameCodeSequence": code("424361007", "SCT", "Using substance"),
              "TextValue": staining}),
    )  # fmt: skip
    return (item({"SpecimenPreparationStepContentItemSequence": step}),)


def _srgb() -> bytes:
    """Colour slides need a profile; those without one are taken for sRGB, as browsers do."""
    from microtome.pixels.color import srgb_profile

    return srgb_profile()
