"""The servers of one run: microtome and its peers, on the same slides, or the reason why one is missing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.processes import Server, answers, free_port

KEYS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark-secret", "AWS_REGION": "us-east-1"}
BUCKET = "slides"


def program(name: str, *folders: Path) -> str | None:
    """A program from the PATH or one of the usual folders."""
    places = os.pathsep.join([os.environ["PATH"], *map(str, folders)])
    return shutil.which(name, path=places)


def wsi_streamer() -> str | None:
    return program("wsi-streamer", Path.home() / ".cargo/bin")


def versitygw() -> str | None:
    return program("versitygw", Path(".cache/bin").resolve(), Path.home() / "go/bin")


def nginx() -> str | None:
    return program("nginx", Path("/usr/sbin"))


def healthy(port: int) -> bool:
    return answers(port, "/health")


def microtome(data: str, *options: str, environment: dict[str, str] | None = None, log: Path | None = None) -> Server:
    port = free_port()
    return Server(
        "microtome",
        [sys.executable, "-m", "microtome", "serve", data, "--port", str(port), *options],
        port,
        environment or {},
        healthy,
        log,
    )


def streamer(endpoint_port: int, *options: str) -> Server:
    program = wsi_streamer()
    assert program is not None
    port = free_port()
    return Server(
        "wsi-streamer",
        [program, f"s3://{BUCKET}", "--s3-endpoint", f"http://127.0.0.1:{endpoint_port}", "--host", "127.0.0.1",
         "--port", str(port), "--no-tracing", *options],
        port,
        KEYS,
        healthy,
    )  # fmt: skip


def s3_server(folder: Path) -> Server:
    """A real S3 server over the folders (buckets) in ``folder``."""
    program = versitygw()
    assert program is not None
    port = free_port()
    return Server(
        "versitygw",
        [program, "--port", f"127.0.0.1:{port}", "--access", KEYS["AWS_ACCESS_KEY_ID"], "--secret",
         KEYS["AWS_SECRET_ACCESS_KEY"], "--quiet", "--keep-alive", "posix", "--nometa", "--default-etag", "benchmark",
         str(folder)],
        port,
    )  # fmt: skip


def delayed(target_port: int, milliseconds: float) -> Server:
    port = free_port()
    return Server(
        "relay",
        [sys.executable, "-m", "benchmarks.latency", str(port), str(target_port), str(milliseconds)],
        port,
    )


def static_files(folder: Path, work: Path) -> Server:
    """nginx over plain files, one worker, the usual tuning: the limit of what a file server does."""
    program = nginx()
    assert program is not None
    port = free_port()
    configuration = work / "nginx.conf"
    configuration.write_text(
        f"""daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx-error.log;
        user root; events {{ worker_connections 512; }}
        http {{ access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 10000000;
        open_file_cache max=20000 inactive=600s; open_file_cache_valid 600s; types {{ image/jpeg jpg; }}
        client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
        uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
        server {{ listen 127.0.0.1:{port}; root {folder}; etag on; expires 1h; }} }}"""
    )
    return Server("nginx", [program, "-c", str(configuration), "-p", str(work)], port)


def openslide(folder: Path) -> Server:
    port = free_port()
    return Server("openslide", [sys.executable, "-m", "benchmarks.openslide_server", str(folder), str(port)], port)


def tiffslide(folder: Path) -> Server:
    port = free_port()
    return Server(
        "tiffslide + Pillow", [sys.executable, "-m", "benchmarks.tiffslide_server", str(folder), str(port)], port
    )


@contextmanager
def running(*servers: Server) -> Iterator[list[Server]]:
    """All of them at once."""
    with ExitStack() as stack:
        yield [stack.enter_context(server) for server in servers]
