"""``microtome s3://bucket`` against a real S3 server: the cases E of the family's contract, and faults under way."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from microtome.demo.svs import write_demo
from tests.e2e.s3server import S3Server
from tests.e2e.test_workers import Running

SLIDE = "folder/tissue section.svs"
ID = "folder%2Ftissue%20section.svs"


def environment(server: S3Server, **more: str) -> dict[str, str]:
    return {
        **os.environ, "AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "WSI_S3_ENDPOINT": server.endpoint, "WSI_S3_REGION": server.region, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    slide = tmp_path_factory.mktemp("slide") / "demo.svs"
    write_demo(slide, width=2048, height=1536)
    s3_server.create_bucket("served")
    s3_server.put("served", SLIDE, slide)
    s3_server.put("served", "notes.txt", b"no slide")
    s3_server.put("served", "broken.svs", slide.read_bytes()[:5000])
    return "served"


@contextmanager
def running(server: S3Server, place: str, *options: str) -> Iterator[Running]:
    found = Running(place, *options, environment=environment(server), command=())
    try:
        yield found
        assert found.stop() == 0
    finally:
        if found.process.poll() is None:
            found.process.kill()
            found.process.wait(10)


def test_a_bucket_is_served(s3_server: S3Server, bucket: str) -> None:
    with running(s3_server, f"s3://{bucket}") as server:
        assert b'"healthy"' in server.get("/health")[2]
        assert server.get("/slides")[2] == b'{"slides":["broken.svs","folder/tissue section.svs"]}'
        facts = server.get(f"/slides/{ID}")[2]
        for text in (b'"slide_id":"folder/tissue section.svs"', b'"width":2048', b'"levels":[', b"Aperio SVS"):
            assert text in facts
        for target in ("/tiles/{}/0/0/0.jpg", "/tiles/{}/1/0/0.jpg", "/slides/{}/thumbnail",
                       "/slides/{}/thumbnail?max_size=128", "/slides/{}/associated/label"):  # fmt: skip
            status, headers, body = server.get(target.format(ID))
            assert (status, headers["content-type"]) == (200, "image/jpeg")
            Image.open(io.BytesIO(body)).load()
        descriptor = server.get(f"/slides/{ID}/dzi")[2]
        assert all(text in descriptor for text in (b"<?xml", b"<Image", b"<Size", b"TileSize"))
        for target in ("/slides/missing.svs", "/tiles/missing.svs/0/0/0.jpg", "/view/missing.svs"):
            status, _, body = server.get(target)
            assert status == 404
            assert bucket.encode() not in body
        assert server.get("/slides/broken.svs")[0] == 415
        assert server.get(f"/view/{ID}")[0] == 200


def test_a_prefix_is_the_root(s3_server: S3Server, bucket: str) -> None:
    with running(s3_server, f"s3://{bucket}/folder") as server:
        assert server.get("/slides")[2] == b'{"slides":["tissue section.svs"]}'
        assert server.get("/tiles/tissue%20section.svs/0/0/0.jpg")[0] == 200
        assert server.get("/slides/..%2Fbroken.svs")[0] == 404


def test_a_replaced_object_is_noticed(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    write_demo(tmp_path / "one.svs", width=1024, height=768, seed=1)
    write_demo(tmp_path / "two.svs", width=1280, height=768, seed=2)
    s3_server.put(bucket, "changing/slide.svs", tmp_path / "one.svs")
    with running(s3_server, f"s3://{bucket}/changing", "--revalidate", "0") as server:
        assert b'"width":1024' in server.get("/slides/slide.svs")[2]
        before = server.get("/tiles/slide.svs/0/1/1.jpg")
        s3_server.put(bucket, "changing/slide.svs", tmp_path / "two.svs")
        assert b'"width":1280' in server.get("/slides/slide.svs")[2]
        after = server.get("/tiles/slide.svs/0/1/1.jpg")
        assert before[1]["etag"] != after[1]["etag"]
        s3_server.delete(bucket, "changing/slide.svs")
        assert server.get("/tiles/slide.svs/0/2/2.jpg")[0] == 404


def check(server: S3Server, *arguments: str, **more: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "microtome", "check", *arguments],
        env=environment(server, **more), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_check_tells_whether_a_bucket_can_be_served(s3_server: S3Server, bucket: str) -> None:
    status, output = check(s3_server, f"s3://{bucket}", "--list-slides")
    assert status == 0
    assert SLIDE in output
    assert output.strip().splitlines()[-1].endswith("All checks passed")
    assert check(s3_server, f"s3://{bucket}", "--test-slide", SLIDE)[0] == 0
    status, output = check(s3_server, f"s3://{bucket}", "--test-slide", "broken.svs")
    assert status == 1
    assert "All checks passed" not in output
    assert check(s3_server, "s3://no-such-bucket")[0] == 1
    assert check(s3_server, f"s3://{bucket}", AWS_SECRET_ACCESS_KEY="wrong")[0] == 1
