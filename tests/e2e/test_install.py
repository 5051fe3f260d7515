"""The two commands of the README on an empty Debian 12, and a wheel on a machine without Node or a compiler.

The empty Debian is a folder made by debootstrap, kept in ``.cache`` and copied for every run. What runs inside reaches
its registries the way this machine does: resolver, certificates and the clients' own configuration are copied in.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / ".cache" / "debian-root"
RELEASE = "bookworm"
PACKAGES = "python3,make,ca-certificates"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PASSED_ON = ("PIP_", "NPM_CONFIG_", "SSL_CERT_", "REQUESTS_CA_", "NODE_EXTRA_")
START_SECONDS = 240

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a Debian root and enter it"),
    pytest.mark.skipif(not shutil.which("debootstrap", path="/usr/sbin:/usr/bin"), reason="debootstrap is missing"),
]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A fresh Debian with Python, make and this project in /microtome; nothing else."""
    folder = tmp_path_factory.mktemp("machine")
    root = folder / "root"
    # Without what may be mounted below: a copy of /proc would have no end.
    subprocess.run(["cp", "--archive", "--one-file-system", str(debian()), str(root)], check=True)
    connect(root)
    copy_project(root / "microtome")
    try:
        yield Machine(root)
    finally:
        shutil.rmtree(folder)


class Machine:
    """A Debian root to run commands in. Its network is that of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(self, *arguments: str, folder: str = "/microtome") -> list[str]:
        """How to run a command in there, with a /proc that nobody outside sees and that goes with the command."""
        enter = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
        go = 'cd "$0" && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", enter, str(self.root), "sh", "-c", go, folder, *arguments]

    def run(self, *arguments: str, folder: str = "/microtome") -> str:
        """What the command says; it must succeed."""
        done = subprocess.run(
            self.command(*arguments, folder=folder),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout[-3000:]}"
        return done.stdout

    @contextmanager
    def server(self, *arguments: str, port: int, folder: str = "/microtome") -> Iterator[Client]:
        """The command runs inside of the block, which begins as soon as it answers at ``port``."""
        log = self.root.parent / f"log-{port}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(*arguments, folder=folder),
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        client = Client(port)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not client.answers():
                assert process.poll() is None, f"ended before it served:\n{log.read_text()[-3000:]}"
                assert time.monotonic() < deadline, f"does not answer:\n{log.read_text()[-3000:]}"
                time.sleep(0.1)
            yield client
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise


class Client:
    """Asks a server at 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether it is up and healthy."""
        try:
            return self.get("/health")[0] == 200
        except OSError:
            return False

    def slides(self) -> list[str]:
        """The ids of its slides."""
        status, body = self.get("/slides")
        assert status == 200
        return [str(slide) if isinstance(slide, str) else slide["slide_id"] for slide in json.loads(body)["slides"]]


def debian() -> Path:
    """The empty Debian, made when it is not there."""
    if BASE.is_dir():
        return BASE
    mirrors = repositories()
    if RELEASE not in mirrors:
        pytest.skip(f"the package sources of this machine name no mirror of Debian {RELEASE}")
    unfinished = BASE.with_name(f"{BASE.name}-{os.getpid()}")
    unfinished.parent.mkdir(exist_ok=True)
    try:
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(unfinished), mirrors[RELEASE]],
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        unfinished.rename(BASE)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return BASE


def repositories() -> dict[str, str]:
    """Suite -> address of the repositories this machine installs packages from."""
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    ).stdout
    found = (line.split(" ", 2) for line in listing.splitlines())
    return {suite: address for suite, component, address in found if component == "main"}


def connect(root: Path) -> None:
    """Let the clients inside reach what those of this machine reach."""
    suites = {suite: address for suite, address in repositories().items() if suite.startswith(RELEASE)}
    lines = [f"deb {address} {suite} main\n" for suite, address in suites.items()]
    (root / "etc/apt/sources.list").write_text("".join(lines))
    wanted = ("Acquire::Check-", "Acquire::http", "Acquire::Retries")
    settings = subprocess.run(["apt-config", "dump"], stdout=subprocess.PIPE, text=True, check=True).stdout
    (root / "etc/apt/apt.conf.d/90host").write_text(
        "".join(f"{line}\n" for line in settings.splitlines() if line.startswith(wanted))
    )
    home = Path.home()
    copies = {
        Path("/etc/resolv.conf"): "etc/resolv.conf",
        Path("/etc/hosts"): "etc/hosts",
        CERTIFICATES: str(CERTIFICATES).lstrip("/"),
        Path("/etc/pip.conf"): "etc/pip.conf",
        home / ".config/pip/pip.conf": "root/.config/pip/pip.conf",
        home / ".npmrc": "root/.npmrc",
    }
    for source, target in copies.items():
        if source.is_file():
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, root / target)


def environment() -> dict[str, str]:
    """As of somebody who has just logged in, and knows the way to the registries."""
    passed = {name: value for name, value in os.environ.items() if name.upper().startswith(PASSED_ON)}
    proxies = {name: value for name, value in os.environ.items() if name.upper().endswith("_PROXY")}
    passed.pop("PIP_FIND_LINKS", None)
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**passed, **proxies, "HOME": "/root", "PATH": path}


def copy_project(target: Path) -> None:
    """What is in git or could be; nothing that was built here."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_slide(client: Client) -> None:
    """A slide is listed, described, shown and answers tiles of its finest and its coarsest level."""
    [slide] = client.slides()
    status, body = client.get(f"/slides/{quote(slide, safe='')}")
    facts = json.loads(body)
    assert (status, facts["slide_id"]) == (200, slide)
    assert min(facts["width"], facts["height"]) >= 2000
    for level in (0, facts["level_count"] - 1):
        status, tile = client.get(f"/tiles/{quote(slide, safe='')}/{level}/0/0.jpg")
        assert (status, tile[:2], tile[-2:]) == (200, b"\xff\xd8", b"\xff\xd9")


def check_pages(client: Client) -> None:
    """The pages are there, with every script and style that they name."""
    [slide] = client.slides()
    for page in ("/", f"/view/{quote(slide, safe='')}"):
        status, body = client.get(page)
        assert status == 200
        assert b"<html" in body
        links = files_named_in(body.decode())
        assert any(link.endswith(".js") for link in links)
        folder = page.rsplit("/", 1)[0]
        for link in links:
            path = os.path.normpath(link if link.startswith("/") else f"{folder}/{link}")
            assert client.get(path)[0] == 200, path


def files_named_in(page: str) -> Sequence[str]:
    attributes = (part.split('"', 1)[0] for name in ('src="', 'href="') for part in page.split(name)[1:])
    return [name.split("?")[0] for name in attributes if name.split("?")[0].endswith((".js", ".css", ".svg"))]


def test_two_commands(machine: Machine) -> None:
    """`make serve` installs and serves the demonstration; a second time there is nothing to install."""
    for command in ("pip3", "node", "npm", "cc", "git"):
        assert not (machine.root / "usr/bin" / command).exists(), f"this Debian is not empty: it has {command}"
    port = free_port()
    with machine.server("make", "serve", f"PORT={port}", port=port) as client:
        check_slide(client)
        check_pages(client)
    assert machine.run("make", "install") == ""


def test_wheel_without_node(machine: Machine) -> None:
    """The wheel carries the pages, and serves them from an environment with nothing but its dependencies."""
    machine.run("make", "wheel")
    [wheel] = (machine.root / "microtome/dist").glob("microtome-*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert any(name.startswith("microtome/viewer/static/vendor/") and name.endswith(".js") for name in names)
    assert not any("node_modules" in name or name.startswith(("tests/", "microtome/viewer/web/")) for name in names)

    machine.run("python3", "-m", "venv", "/opt/clean")
    pip = ("/opt/clean/bin/pip", "install", "--quiet", "--only-binary", ":all:")
    machine.run(*pip, "--require-hashes", "--requirement", "requirements/serve.txt")
    machine.run(*pip, "--no-deps", f"dist/{wheel.name}")
    machine.run("/opt/clean/bin/pip", "check")
    machine.run("mkdir", "-p", "/data")
    machine.run("/opt/clean/bin/microtome", "demo", "/data/demo.svs", folder="/")
    port = free_port()
    with machine.server(
        "/opt/clean/bin/microtome", "serve", "/data", "--port", str(port), port=port, folder="/data"
    ) as client:
        check_slide(client)
        check_pages(client)


def test_as_the_image_is_built(machine: Machine) -> None:
    """What the Dockerfile runs: a copy outside of the project's folder, used by somebody who may write nowhere."""
    machine.run("scripts/install.sh", "--copy", "--into", "/opt/microtome")
    (machine.root / "microtome").rename(machine.root / "moved-away")
    try:
        as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        program = (*as_nobody, "/opt/microtome/bin/microtome")
        assert "microtome" in machine.run(*program, "--version", folder="/")
        machine.run("mkdir", "-p", "/pictures", folder="/")
        machine.run("/opt/microtome/bin/microtome", "demo", "/pictures/demo.svs", folder="/")
        port = free_port()
        with machine.server(*program, "serve", "/pictures", "--port", str(port), port=port, folder="/") as client:
            check_slide(client)
            check_pages(client)
    finally:
        (machine.root / "moved-away").rename(machine.root / "microtome")
