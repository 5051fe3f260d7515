"""A real PostgreSQL for tests, at a free port of 127.0.0.1, from Debian's package; its files are gone behind it."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

USER = "postgres"
"""PostgreSQL does not run as root; Debian's package makes this user."""


class NoServer(Exception):
    """There is no PostgreSQL on this machine; the message says what to install."""


def find_programs() -> Path:
    """The folder with ``initdb`` and ``postgres``: of Debian, or wherever the PATH has them."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders = [*debian, *([Path(found).parent] if found else [])]
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoServer("no PostgreSQL: install the package postgresql")


class PostgresServer:
    """``with PostgresServer() as server``: ``database()`` makes an empty one and gives its URL."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._programs = Path()
        self.port = 0
        self._password = secrets.token_hex(8)

    def __enter__(self) -> PostgresServer:
        self._programs = find_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="microtome-postgres-"))
        if os.geteuid() == 0:
            try:
                shutil.chown(self._folder, USER, USER)
            except LookupError as error:
                raise NoServer(f"no PostgreSQL: root needs the user {USER} to run it") from error
        secret = self._folder / "secret"
        secret.write_text(self._password)
        secret.chmod(0o644)
        data = self._folder / "data"
        self._run("initdb", "--pgdata", data, "--username", "tester", "--pwfile", secret, "--auth", "scram-sha-256",
                  "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")  # fmt: skip
        for _ in range(3):  # another process may take the port in between
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
            try:
                self._run("pg_ctl", "start", "--wait", "--pgdata", data, "--log", self._folder / "log", "-o", options)
            except subprocess.CalledProcessError:
                continue
            return self
        log = (self._folder / "log").read_text(errors="replace")[-500:]
        self.__exit__(None, None, None)
        raise RuntimeError(f"PostgreSQL did not start: {log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is None:
            return
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        """End the server at once, as a crash would."""
        assert self._folder is not None
        self._run("pg_ctl", "stop", "--mode", "immediate", "--pgdata", self._folder / "data", check=False)

    def database(self) -> str:
        """A new database; its URL."""
        name = f"test_{secrets.token_hex(4)}"
        environment = {**os.environ, "PGPASSWORD": self._password}
        self._run("createdb", "--host", "127.0.0.1", "--port", str(self.port), "--username", "tester", name,
                  environment=environment)  # fmt: skip
        return f"postgresql://tester:{self._password}@127.0.0.1:{self.port}/{name}"

    def _run(
        self, program: str, *arguments: str | Path, environment: dict[str, str] | None = None, check: bool = True
    ) -> None:
        user = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
        command = [str(self._programs / program), *map(str, arguments)]
        subprocess.run(
            command, cwd="/", env=environment, check=check, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=60, **user,
        )  # fmt: skip
