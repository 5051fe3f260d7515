"""The Dockerfile and the compose files agree with the program, and the health check tells the truth."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from microtome import settings
from tests.serving import served

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = sorted(DEPLOY.glob("compose*.yaml"))
VARIABLES = {settings.variable(name) for name in settings.options()}


def instructions(name: str) -> list[str]:
    """What follows a word of the Dockerfile, continued lines joined, comments left out."""
    lines = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    return re.findall(rf"^{name} (.*)", lines.replace("\\\n", " "), re.MULTILINE)


@pytest.mark.parametrize("path", [DEPLOY / "Dockerfile", *COMPOSE], ids=lambda path: path.name)
def test_variables_are_settings(path: Path) -> None:
    assert set(re.findall(r"MICROTOME_\w+", path.read_text())) <= VARIABLES


def test_what_runs_is_a_command_that_serves_everybody_but_as_nobody() -> None:
    assert [json.loads(each) for each in instructions("ENTRYPOINT")] == [["microtome"]]
    [command] = (json.loads(each) for each in instructions("CMD"))
    assert command == ["serve", "/data", "--host", "0.0.0.0", "--port", "3000"]
    assert instructions("EXPOSE") == ["3000"]
    [user] = instructions("USER")
    assert all(int(number) > 0 for number in user.split(":"))
    last = DOCKERFILE.split("\nFROM ")[-1]
    assert last.index("USER") > last.rindex("RUN"), "packages are installed before"


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_compose_builds_what_there_is_for_this_machine_only(path: Path) -> None:
    services = yaml.safe_load(path.read_text())["services"]
    build = services["microtome"]["build"]
    assert (path.parent / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert set(build["args"]) <= {each.partition("=")[0] for each in instructions("ARG")}
    ports = [port for service in services.values() for port in service["ports"]]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_scene_is_installed_only_where_it_is_asked_for() -> None:
    [step] = (each for each in instructions("RUN") if "scripts/install.sh" in each)
    shown = step.replace("scripts/install.sh", "echo")
    for value, arguments in (("on", "--scene --copy"), ("off", "--copy")):
        told = subprocess.run(["sh", "-c", f"SCENE={value}; {shown}"], capture_output=True, text=True, check=True)
        assert told.stdout == f"{arguments} --into /opt/microtome\n"
    assert subprocess.run(["sh", "-c", f"SCENE=yes; {shown}"], capture_output=True, check=False).returncode == 2
    # Declared in both stages, off unless it is said, and what the image serves.
    assert [each for each in instructions("ARG") if each.startswith("SCENE")] == ["SCENE=off"] * 2
    assert "MICROTOME_SCENE=$SCENE" in " ".join(instructions("ENV"))
    parse = settings.options()["scene"].parse
    assert (parse("off"), parse("on")) == (False, True)


def test_the_health_check_tells_the_truth(tmp_path: Path) -> None:
    [check] = instructions("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[0] == "python"
    with served(tmp_path) as client:
        there = [part.replace(":3000/", f":{client.port}/") for part in command[1:]]
        assert there != command[1:]
        assert subprocess.run([sys.executable, *there], check=False).returncode == 0
    assert subprocess.run([sys.executable, *there], capture_output=True, check=False).returncode == 1
