"""Annotations and segmentations of slides, made by highdicom out of what DICOMweb says of the slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.ann import AnnotationGroup, Measurements, MicroscopyBulkSimpleAnnotations
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr.coding import CodedConcept
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.serving import Client

NUCLEUS = CodedConcept("84640000", "SCT", "Nucleus")
MORPHOLOGY = CodedConcept("49755003", "SCT", "Morphologically abnormal structure")
TUMOR = CodedConcept("108369006", "SCT", "Neoplasm")
ALGORITHM = hd.AlgorithmIdentificationSequence("marker", codes.cid7162.ArtificialIntelligence, "1")
MADE = dict.fromkeys(("manufacturer", "manufacturer_model_name", "software_versions", "device_serial_number"), "tests")


@dataclass(frozen=True)
class Marked:
    """A group: kind of graphic, shapes as (n, 2) or (n, 3), recommended colour, measured areas."""

    label: str
    kind: str
    shapes: Sequence[NDArray[Any]]
    color: tuple[int, int, int] | None = None
    areas: Sequence[float] | None = None


def images(client: Client, modality: str = "SM") -> list[Dataset]:
    """The images of the only series of slides that is served, as data sets without pixels, the finest first."""
    (found,) = client.get(f"/dicom/series?Modality={modality}").json()
    study, series = found["0020000D"]["Value"][0], found["0020000E"]["Value"][0]
    headers = client.get(f"/dicom/studies/{study}/series/{series}/metadata").json()
    for header in headers:
        header.pop("7FE00010", None)
    return sized([Dataset.from_json(header) for header in headers])


def sized(headers: Sequence[Dataset]) -> list[Dataset]:
    """Those of the slide itself, with what highdicom wants of files; the finest first."""
    volumes = [header for header in headers if header.ImageType[2] == "VOLUME"]
    for each in volumes:
        each.file_meta = FileMetaDataset()
        each.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        each.PatientName, each.PatientBirthDate = getattr(each, "PatientName", ""), None
    return sorted(volumes, key=lambda header: -header.TotalPixelMatrixColumns)


def bulk_annotations(source: Dataset, groups: Sequence[Marked], *, on_glass: bool = False) -> Dataset:
    """Annotations of an image."""
    made = [
        AnnotationGroup(
            number=number, uid=generate_uid(), label=each.label, annotated_property_category=MORPHOLOGY,
            annotated_property_type=NUCLEUS, graphic_type=each.kind, graphic_data=list(each.shapes),
            algorithm_type="AUTOMATIC", algorithm_identification=ALGORITHM,
            display_color=None if each.color is None else CIELabColor.from_rgb(*each.color),
            measurements=None if each.areas is None else [
                Measurements(codes.SCT.Area, values=np.array(each.areas, np.float32), unit=codes.UCUM.SquareMicrometer)
            ],
        )
        for number, each in enumerate(groups, 1)
    ]  # fmt: skip
    return MicroscopyBulkSimpleAnnotations(
        source_images=[source], annotation_coordinate_type="3D" if on_glass else "2D",
        annotation_groups=made, series_instance_uid=generate_uid(), series_number=7, sop_instance_uid=generate_uid(),
        instance_number=1, series_description="Nuclei of a model", content_label="NUCLEI", **MADE,
    )  # fmt: skip


def segmentation(
    source: Dataset, mask: NDArray[Any], kind: str = "BINARY", names: Sequence[str] = ("Tumour",), **options: Any
) -> Dataset:
    """A segmentation of an image: ``mask`` (rows, columns) of numbers, or (rows, columns, segments)."""
    described = [
        SegmentDescription(
            number, name, MORPHOLOGY, TUMOR, algorithm_type="AUTOMATIC", algorithm_identification=ALGORITHM
        )
        for number, name in enumerate(names, 1)
    ]  # fmt: skip
    return Segmentation(
        source_images=[source], pixel_array=mask[None], segmentation_type=kind, segment_descriptions=described,
        series_instance_uid=generate_uid(), series_number=8, sop_instance_uid=generate_uid(), instance_number=1,
        series_description="Regions of a model", content_label="REGIONS", tile_pixel_array=True, **MADE, **options,
    )  # fmt: skip
