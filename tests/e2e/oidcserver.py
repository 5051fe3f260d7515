"""A real OpenID Connect provider for tests: oidc-provider of npm in a process of its own, at 127.0.0.1."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent / "oidc"
INSTALLED = ROOT / ".cache" / "oidc"
FILES = ("package.json", "package-lock.json", ".npmrc", "provider.js")
SECRET = "a-secret-for-tests-only-0123456789"
START_SECONDS = 30


class NoProvider(Exception):
    """There is no provider on this machine; the message says what to install."""


def install() -> tuple[str, Path]:
    """The node program and the folder with the locked packages, installed there by npm when they are not."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NoProvider("no OpenID Connect provider: install Node.js with npm")
    mark = sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    folder = INSTALLED / mark
    if not folder.is_dir():
        INSTALLED.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=INSTALLED) as temporary:
            work = Path(temporary) / "new"
            work.mkdir()
            for name in FILES:
                shutil.copyfile(HERE / name, work / name)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise NoProvider(f"no OpenID Connect provider: npm ci failed: {done.stderr.strip()[-300:]}")
            try:
                work.rename(folder)
            except OSError:  # another run was quicker
                if not folder.is_dir():
                    raise
    return node, folder


def new_keys(*algorithms: str) -> list[dict[str, Any]]:
    """Fresh private keys as JWKs, one for each algorithm."""
    return [_new_key(algorithm) for algorithm in algorithms]


def _new_key(algorithm: str) -> dict[str, Any]:
    match algorithm[:2]:
        case "RS" | "PS":
            key = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True)
        case "ES":
            key = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
        case _:
            key = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate(), as_dict=True)
    kept = {name: value for name, value in key.items() if name != "key_ops"}
    return {**kept, "alg": algorithm, "use": "sig", "kid": os.urandom(8).hex()}


class OidcServer:
    """``with OidcServer(audiences) as server``: keeps its port, and so its issuer, through every restart."""

    def __init__(self, audiences: Sequence[str], entitlements: Mapping[str, Sequence[str]] | None = None) -> None:
        self.url = ""
        self._audiences = audiences
        self._entitlements = {name: list(given) for name, given in (entitlements or {}).items()}
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self._port = 0

    def __enter__(self) -> OidcServer:
        self._folder = Path(tempfile.mkdtemp(prefix="microtome-oidc-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, keys: Sequence[Mapping[str, Any]]) -> None:
        """(Re)start with these private keys."""
        self.stop()
        node, installed = install()
        (self._folder / "keys.json").write_text(json.dumps({"keys": list(keys)}))
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PORT": str(self._port),
            "KEYS": str(self._folder / "keys.json"),
            "AUDIENCES": " ".join(self._audiences),
            "SECRET": SECRET,
            "ENTITLEMENTS": json.dumps(self._entitlements),
        }
        with (self._folder / "log").open("wb") as log:
            command = [node, str(installed / "provider.js")]
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/.well-known/openid-configuration", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"oidc-provider did not start: {(self._folder / 'log').read_text(errors='replace')[-800:]}")

    def stop(self) -> None:
        """End the process; nothing listens at the port afterwards."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def token(self, algorithm: str, audience: str) -> str:
        """An access token of the client ``algorithm``, signed with it."""
        answer = httpx.post(
            f"{self.url}/token",
            data={"grant_type": "client_credentials", "resource": audience, "scope": "slides"},
            auth=(algorithm, SECRET),
        )
        assert answer.status_code == 200, answer.text
        token = answer.json()["access_token"]
        assert jwt.get_unverified_header(token)["alg"] == algorithm
        return token
