"""The rules of the house that a machine can check. CONTRIBUTING.md says them in words."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import microtome
from microtome.cli.main import commands as microtome_commands

ROOT = Path(__file__).resolve().parent.parent
MODULE_LINES = 600
FILE_BYTES = 1_000_000
SOURCE = {".py", ".js", ".css"}
BINARY = {".png", ".jpg", ".jpeg", ".svs", ".tif", ".tiff", ".icc", ".ico", ".woff2", ".webp", ".jp2"}
# Put together here, so that this file does not break its own rules.
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
REGISTRIES = tuple(".".join(parts) for parts in (
    ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("yarnpkg", "com"),
    ("proxy", "golang", "org"), ("crates", "io"), ("deb", "debian", "org"),
))  # fmt: skip
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(?:work/|root/\.|home/\w+/|Users/\w+/)[\w.]")
ELSEWHERE = ("node_modules", "vendor", "third_party")


@cache
def project_files() -> tuple[str, ...]:
    """Paths of all files that are in git or would be with the next commit."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git working copy", allow_module_level=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    return tuple(sorted(name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()))


def texts() -> Iterator[tuple[str, str]]:
    """(path, text) of every file that is one."""
    for name in project_files():
        if Path(name).suffix not in BINARY:
            yield name, (ROOT / name).read_text("utf-8")


def pages() -> list[str]:
    """Paths of the documents."""
    return [name for name in project_files() if name.endswith(".md")]


def found(pattern: re.Pattern[str]) -> list[str]:
    """Where a pattern occurs in the project."""
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_modules_are_short() -> None:
    long = {
        name: lines
        for name, text in texts()
        if Path(name).suffix in SOURCE and (lines := text.count("\n")) > MODULE_LINES
    }
    assert not long, "split these modules; a reader should hold one in the head"


def test_import_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_only_the_command_line_prints() -> None:
    printing = [
        f"{name}:{node.lineno}"
        for name, text in texts()
        if name.startswith("src/") and name.endswith(".py") and not name.startswith("src/microtome/cli/")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing, "say it with telemetry.logger"


def test_nothing_is_left_to_do() -> None:
    assert not found(UNFINISHED)


def test_no_registry_and_no_machine_is_named() -> None:
    """Where packages come from is the business of whoever installs, and configured there."""
    here = {urlsplit(url).hostname or "" for url in os.environ.values() if url.startswith(("http://", "https://"))}
    local = {host for host in here if "." in host and not host.startswith("127.")}
    names = "|".join(re.escape(host) for host in sorted({*REGISTRIES, *local}))
    assert not found(re.compile(rf"(?<![\w-])(?:{names})\b"))
    assert not found(MACHINE_PATH)


def test_no_code_of_others_is_committed() -> None:
    for name in project_files():
        path = Path(name)
        assert not set(ELSEWHERE).intersection(path.parts), f"{name}: other people's code comes from its registry"
        assert ".min." not in path.name, name
        assert (ROOT / name).stat().st_size <= FILE_BYTES, f"{name} is too large to belong here"


@pytest.mark.parametrize("page", pages())
def test_links_resolve(page: str) -> None:
    text = without_code((ROOT / page).read_text("utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for target in targets:
        if urlsplit(target).scheme:
            continue
        path, _, anchor = unquote(target).partition("#")
        file = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert file.exists(), f"{page} points to {target}"
        assert file.is_relative_to(ROOT), f"{page} points to {target}, outside of the project"
        if anchor:
            assert anchor in headings(file), f"{page} points to {target}, and there is no such heading"


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def headings(file: Path) -> set[str]:
    """Anchors of a document, as they are made of its headings."""
    titles = re.findall(r"^#+ +(.+?)\s*$", without_code_blocks(file.read_text("utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def without_code_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every command in a shell block of the documents."""
    for page in pages():
        blocks = re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.M)
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0]):
                words.pop(0)
            if words:
                yield page, words


def test_documented_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    seen = {"make": 0, "microtome": 0}
    for page, (program, *arguments) in commands():
        if program == "make":
            goals = [word for word in arguments if "=" not in word]
            assert set(goals) <= targets, f"{page}: make {' '.join(goals)}"
            seen["make"] += 1
        elif Path(program).name == "microtome":
            check_microtome(page, arguments)
            seen["microtome"] += 1
        elif program.startswith(("scripts/", "./")):
            assert (ROOT / program).is_file(), f"{page}: {program}"
    assert all(seen.values()), "the documents show no commands any more, or this test cannot find them"


def check_microtome(page: str, arguments: list[str]) -> None:
    context = click.Context(microtome_commands)
    names = microtome_commands.list_commands(context)
    named = next((word for word in arguments if not word.startswith("-")), None)
    # A bare `microtome s3://bucket` serves.
    command = microtome_commands.get_command(context, named if named in names else "serve")
    assert command is not None, f"{page}: microtome {named}"
    parameters = (*command.params, *microtome_commands.params)
    known = {option for each in parameters for option in (*each.opts, *each.secondary_opts)} | {"--help", "--version"}
    for word in arguments:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{page}: microtome {named} has no option {word}"


# The lock.


def locked(name: str) -> dict[str, list[Requirement]]:
    """Package -> what requirements/NAME.txt says of it."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8").replace("\\\n", " ")
    found: dict[str, list[Requirement]] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            words = line.split("--hash=sha256:")
            assert len(words) > 1, f"{name}.txt: {line} has no hash"
            requirement = Requirement(words[0].strip())
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


@pytest.mark.parametrize("name", ["serve", "test", "build", "node", "go"])
def test_lock_keeps_what_the_project_asks_for(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = project["dependency-groups"].get(name, [])
    if name in {"serve", "test"}:
        wanted = [*wanted, *project["project"]["dependencies"]]
    lock = locked(name)
    assert wanted
    for line in wanted:
        requirement = Requirement(line)
        pins = lock.get(canonicalize_name(requirement.name), [])
        assert pins, f"requirements/{name}.txt lacks {line}: make lock"
        for pin in pins:
            [version] = [specifier.version for specifier in pin.specifier]
            assert requirement.specifier.contains(version), f"requirements/{name}.txt has {pin}, not {line}: make lock"


def test_tests_run_on_the_versions_that_are_served() -> None:
    served, tested = locked("serve"), locked("test")
    assert served
    for name, pins in served.items():
        assert [str(pin) for pin in pins] == [str(pin) for pin in tested[name]]


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == microtome.__version__
    assert f"## [{microtome.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_scripts_are_sound() -> None:
    scripts = [name for name in project_files() if name.endswith(".sh") or name == ".ci/run"]
    assert ".ci/run" in scripts
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK), f"{script} cannot be run"
        subprocess.run(["sh", "-n", ROOT / script], check=True)
