"""DICOM series of a bucket as slides, wherever their objects lie; patients from a table beside them."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from microtome.demo.svs import write_demo
from tests.dicommaker import made, written
from tests.e2e.s3server import S3Server
from tests.e2e.test_serve_s3 import running
from tests.e2e.test_workers import until
from tests.unit.wsidicom.dicommaker import JPEG, TILE, instance
from tests.unit.wsidicom.test_tilings import tiles

pytestmark = pytest.mark.s3
SERIES = "dicom:/1.2.3.1/1.2.3.2"


def test_series_of_a_bucket(s3_server: S3Server, tmp_path: Path) -> None:
    bucket = "series-of-dicom"
    s3_server.create_bucket(bucket)
    found = tiles(4, 1)
    keys, size = list(found), (4 * TILE, TILE)
    for number, start in enumerate((0, 2)):
        part = instance(found, size=size, part=(start, keys[start : start + 2]), syntax=JPEG)
        s3_server.put(bucket, f"{number}/no suffix", part)
    s3_server.put(bucket, "ct/1.dcm", written(made()))
    slide = tmp_path / "demo.svs"
    write_demo(slide, width=300, height=200)
    s3_server.put(bucket, "z/demo.svs", slide)
    s3_server.put(bucket, "patients.csv", b"slide,AccessionNumber\nz/*,A-1\n")
    options = ("--dicom-index", str(tmp_path / "index.sqlite"), "--dicom-attributes", "patients.csv")
    with running(s3_server, f"s3://{bucket}", *options) as server:
        until(lambda: json.loads(server.get("/slides")[2])["slides"] == [SERIES, "z/demo.svs"])
        facts = json.loads(server.get(f"/slides/{quote(SERIES, safe='')}")[2])
        assert (facts["width"], facts["height"], facts["level_count"]) == (*size, 1)
        pictures = [server.get(f"/tiles/{quote(SERIES, safe='')}/0/{column}/0.jpg") for column in range(4)]
        assert {status for status, _, _ in pictures} == {200}
        assert len({body for _, _, body in pictures}) == 4
        until(lambda: len(json.loads(server.get("/dicom/studies?AccessionNumber=A-1")[2])) == 1)
