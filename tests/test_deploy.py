"""The container files name options, variables and files that exist. No container engine is needed, or asked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from microtome import settings

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = sorted(DEPLOY.glob("compose*.yaml"))
VARIABLES = {settings.variable(name): option for name, option in settings.options().items()}
KEYS_OF_AWS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"}


def services(file: Path) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(file.read_text("utf-8"))["services"]


def ours(file: Path) -> dict[str, Any]:
    return services(file)["microtome"]


def instructions() -> Iterator[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile."""
    for line in (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


def test_there_is_one_with_a_folder_and_one_with_a_bucket() -> None:
    assert [file.name for file in COMPOSE] == ["compose.s3.yaml", "compose.yaml"]


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_compose_sets_what_exists(file: Path) -> None:
    for name, value in ours(file).get("environment", {}).items():
        assert name in VARIABLES or name in KEYS_OF_AWS, f"there is no setting {name}"
        if name in VARIABLES and "$" not in str(value):
            VARIABLES[name].parse(value)
    command = ours(file)["command"]
    assert command[0] == "serve"
    flags = {settings.flag(name) for name in settings.options()}
    assert {word for word in command if word.startswith("--")} <= flags
    assert command[command.index("--host") + 1] == "0.0.0.0"


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_compose_is_careful(file: Path) -> None:
    """Without authentication nothing is published beyond the machine; the process may do as little as possible."""
    for name, service in services(file).items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        image = service.get("image", "")
        assert "build" in service or re.search(r":v?\d+\.\d+", image), f"{image} has no version"
    assert ours(file)["read_only"] is True
    assert ours(file)["cap_drop"] == ["ALL"]
    build = ours(file)["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_s3_compose_talks_to_its_own_server() -> None:
    found = services(DEPLOY / "compose.s3.yaml")
    endpoint = found["microtome"]["environment"]["MICROTOME_S3_ENDPOINT"]
    host, port = re.fullmatch(r"http://(\w+):(\d+)", endpoint).groups()  # type: ignore[union-attr]
    assert f"--port :{port} " in found[host]["entrypoint"][-1]
    assert found["microtome"]["command"][1] == "s3://slides"
    assert "/objects/slides" in found[host]["entrypoint"][-1]


def test_image_is_made_by_the_installation_script() -> None:
    steps = list(instructions())
    runs = [arguments for name, arguments in steps if name == "RUN"]
    [step] = [shlex.split(run) for run in runs if "scripts/install.sh" in run]
    install = step[step.index("scripts/install.sh") :]
    script = (ROOT / install[0]).read_text("utf-8")
    assert all(f"{option})" in script for option in install[1:] if option.startswith("--"))
    folder = install[install.index("--into") + 1]
    assert ("COPY", f"--from=build {folder} {folder}") in steps
    bases = [arguments.split()[0] for name, arguments in steps if name == "FROM"]
    assert len(set(bases)) == 1, "an environment moves only between equal Pythons"


def test_image_holds_ohif_where_the_server_looks_for_it() -> None:
    steps = list(instructions())
    [run] = [arguments for name, arguments in steps if name == "RUN" and "ohif install" in arguments]
    folder = shlex.split(run)[-1]
    assert ("COPY", f"--from=build {folder} {folder}") in steps
    variables = [word for name, arguments in steps if name == "ENV" for word in shlex.split(arguments)]
    assert f"{settings.variable('ohif_dir')}={folder}" in variables
    assert "--require-hashes" in run, "Node is fetched in the version that is locked"
    words = shlex.split(run)
    assert (ROOT / words[words.index("--requirement") + 1]).is_file()


def test_image_runs_as_nobody_and_tells_its_health() -> None:
    steps = list(instructions())
    [user] = [arguments for name, arguments in steps if name == "USER"]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    [health] = [arguments for name, arguments in steps if name == "HEALTHCHECK"]
    [exposed] = [arguments for name, arguments in steps if name == "EXPOSE"]
    assert f"127.0.0.1:{exposed}/health" in health
    command = yaml.safe_load(next(arguments for name, arguments in steps if name == "CMD"))
    assert (command[0], command[-1]) == ("serve", exposed)
    assert command[command.index("--host") + 1] == "0.0.0.0"


def test_image_gets_what_the_installation_reads() -> None:
    kept = {
        line.removeprefix("!")
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    assert all((ROOT / name).exists() for name in kept)
    script = (ROOT / "scripts/install.sh").read_text("utf-8")
    read = {"scripts", "requirements", "src"} | {
        name for name in ("pyproject.toml", "hatch_build.py") if name in script
    }
    assert read <= kept
    assert {"README.md", "LICENSE"} <= kept, "the metadata of the project names them"
