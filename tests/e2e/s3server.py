"""A real S3 server for tests: versitygw on a folder, with signatures checked, at a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from types import TracebackType

import obstore
from obstore.store import S3Store

VERSION = "v1.8.0"
PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / ".cache" / "bin" / "versitygw"
START_SECONDS = 20


class NoServer(Exception):
    """There is no S3 server on this machine; the message says what to install."""


def find_program() -> Path:
    """versitygw from the project's cache, the PATH or ~/go/bin; built with Go where there is none."""
    found = shutil.which("versitygw")
    for candidate in (BUILT, Path(found) if found else None, Path.home() / "go/bin/versitygw"):
        if candidate is not None and os.access(candidate, os.X_OK):
            return candidate
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        raise NoServer(f"no S3 server: install Go, or versitygw {VERSION} on the PATH")
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(BUILT.parent)}
    built = subprocess.run(
        [go, "install", f"{PACKAGE}@{VERSION}"], env=environment, capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        raise NoServer(f"no S3 server: `go install {PACKAGE}@{VERSION}` failed: {built.stderr.strip()[-300:]}")
    return BUILT


class S3Server:
    """``with S3Server() as server``: the server runs inside of the block, its objects are gone behind it."""

    region = "us-east-1"
    access_key = "microtome-test"
    secret_key = "a-secret-for-tests-only"

    def __init__(self) -> None:
        self.endpoint = ""
        self.folder: Path | None = None
        """Where the server keeps its things; buckets are the folders in ``objects``."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> S3Server:
        program = find_program()
        self.folder = Path(tempfile.mkdtemp(prefix="microtome-s3-"))
        (self.folder / "objects").mkdir()
        (self.folder / "facts").mkdir()
        for _ in range(3):  # another process may take the port in between
            if self._start(program):
                return self
        log = (self.folder / "log").read_text(errors="replace")[-500:]
        self.__exit__(None, None, None)
        raise RuntimeError(f"versitygw did not start: {log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def settings(self) -> dict[str, str]:
        """The environment in which an S3 client finds this server and its keys."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def create_bucket(self, name: str) -> None:
        """Make a bucket, if it is not there yet. It belongs to the owner of the access key."""
        assert self.folder is not None
        (self.folder / "objects" / name).mkdir(exist_ok=True)

    def put(self, bucket: str, key: str, data: bytes | Path) -> str:
        """Store an object, out of memory or from a file, through a signed request; its ETag without quotes."""
        return str(obstore.put(self._client(bucket), key, data)["e_tag"]).strip('"')

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object."""
        obstore.delete(self._client(bucket), key)

    def _client(self, bucket: str) -> S3Store:
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            region=self.region,
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            client_options={"allow_http": True, "timeout": timedelta(minutes=10)},
        )

    def _start(self, program: Path) -> bool:
        assert self.folder is not None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [str(program), "--port", f"127.0.0.1:{port}", "--region", self.region, "--keep-alive", "--quiet"]
        command += ["--health", "/health", "posix", "--sidecar", str(self.folder / "facts")]
        command += [str(self.folder / "objects")]
        # The keys go through the environment: a command line can be read by every user of the machine.
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "ROOT_ACCESS_KEY": self.access_key,
            "ROOT_SECRET_KEY": self.secret_key,
        }
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.endpoint = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/health", timeout=2):
                    return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        self._stop()
        return False

    def _stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
