"""What becomes of the process of a scene, and of those who use it: killed, crashed, hung, saved, left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from microtome.errors import InvalidRequest
from microtome.scene.keeper import PREFIX, clean
from microtome.scene.said import cleaned
from microtome.settings import Settings
from tests.serving import Client, served, until

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")

TOKEN = "a token of the tests"
WITH = {"authorization": f"Bearer {TOKEN}"}
EXEC = {"scene": True, "scene_exec": True, "scene_token": TOKEN}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where folders of scenes are made; a short path, for there are sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="mt-"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def pids(home: Path) -> list[int]:
    """The processes of scenes that say they live."""
    return [int(text) for mark in home.glob(f"{PREFIX}*/process") if (text := mark.read_text())]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def run(client: Client, script: str) -> tuple[int, bytes]:
    answer = client.request("POST", "/slicer/exec", WITH, script.encode())
    return answer.status, answer.body


def fill(client: Client) -> str:
    """Something that is there only as long as the scene is; its id."""
    assert client.get("/slicer/tracking?p=1,2,3").status == 200
    (found,) = client.get("/slicer/mrml/ids?name=tracker").json()
    return str(found)


def test_the_scene_starts_with_the_first_request_and_ends_with_the_server(tmp_path: Path, home: Path) -> None:
    with served(tmp_path, scene=True) as client:
        assert client.get("/health").status == 200
        assert client.get("/slicer/system/version").status == 200
        assert not pids(home)
        assert client.get("/slicer/mrml/names").status == 200
        (pid,) = pids(home)
        assert not is_gone(pid)
    assert is_gone(pid)
    assert not list(home.iterdir())


def test_a_process_that_is_killed_is_told_once_and_replaced(tmp_path: Path, home: Path) -> None:
    with served(tmp_path, scene=True) as client:
        fill(client)
        (pid,) = pids(home)
        os.kill(pid, signal.SIGKILL)
        until(lambda: is_gone(pid))
        answer = client.get("/slicer/mrml/names")
        assert answer.status == 503
        assert "lost" in answer.json()["message"]
        answer = client.get("/slicer/mrml/ids?name=tracker")
        assert (answer.status, answer.json()) == (200, [])
        assert client.get("/scene/v1/state").json()["lost"] == 1
        assert pids(home) != [pid]


@pytest.mark.parametrize("script", ["import ctypes; ctypes.string_at(0)", "import os; os._exit(3)"])
def test_a_process_that_crashes_over_a_request_fails_that_request_alone(
    tmp_path: Path, home: Path, script: str
) -> None:
    with served(tmp_path, **EXEC) as client:
        fill(client)
        status, body = run(client, script)
        assert (status, b"lost" in body) == (503, True)
        assert client.get("/slicer/mrml/ids?name=tracker").json() == []
        assert client.get("/scene/v1/state").json()["lost"] == 1


def test_a_process_that_hangs_is_ended(tmp_path: Path, home: Path) -> None:
    with served(tmp_path, scene=True, scene_timeout=2.0) as client:
        fill(client)
        (pid,) = pids(home)
        os.kill(pid, signal.SIGSTOP)
        answer = client.get("/scene/v1/nodes")
        assert (answer.status, answer.error) == (504, "connection_error")
        assert is_gone(pid)
        assert client.get("/slicer/mrml/ids?name=tracker").json() == []


def test_one_that_always_crashes_is_not_started_for_ever(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path, scene=True, scene_memory=1 << 20) as client:  # nothing starts in so little
        answers = [client.get("/slicer/mrml/names").json()["message"] for _ in range(7)]
    assert "cannot be started" in answers[0]
    assert "try again in a minute" in answers[-1]


def test_what_was_saved_comes_back(tmp_path: Path, home: Path) -> None:
    bundle = tmp_path / "saved" / "scene.mrb"
    with served(tmp_path, scene=True, scene_autosave=bundle, scene_autosave_seconds=0.1) as client:
        assert client.get("/scene/v1/state").json()["restored"] is False
        fill(client)
        until(lambda: client.get("/scene/v1/state").json()["saved"] is not None)
        (pid,) = pids(home)
        os.kill(pid, signal.SIGKILL)
        until(lambda: is_gone(pid))
        assert client.get("/slicer/mrml/names").status == 503
        assert client.get("/slicer/mrml/names?name=tracker").json() == ["tracker"]
        state = client.get("/scene/v1/state").json()
        assert (state["restored"], state["lost"]) == (True, 1)
        client.request("DELETE", "/slicer/mrml?name=tracker")
    # The end of the server saves, too.
    with served(tmp_path, scene=True, scene_autosave=bundle) as client:
        assert client.get("/slicer/mrml/names?name=tracker").json() == []
        assert client.get("/slicer/mrml/names?name=trackingDevice").json() == ["trackingDevice"]
    assert [path.name for path in bundle.parent.iterdir()] == ["scene.mrb"]


def test_a_saved_scene_that_is_broken_does_not_hinder_the_next(tmp_path: Path, home: Path) -> None:
    bundle = tmp_path / "scene.mrb"
    bundle.write_bytes(b"PK\x03\x04 and nothing else")
    with served(tmp_path, scene=True, scene_autosave=bundle) as client:
        assert client.get("/scene/v1/state").json()["restored"] is False
    assert bundle.read_bytes() == b"PK\x03\x04 and nothing else", "kept until there is something better"


def test_a_scene_begins_with_sample_data_unless_one_was_saved(tmp_path: Path, home: Path) -> None:
    bundle = tmp_path / "saved" / "scene.mrb"
    begun = {"scene": True, "scene_samples": ("Markups",), "scene_autosave": bundle}
    with served(tmp_path, **begun) as client:
        assert client.get("/slicer/mrml/names?name=Landmarks").json() == ["Landmarks"]
        assert client.get("/scene/v1/state").json()["undo"] == 0
        client.request("DELETE", "/slicer/mrml?name=Landmarks")
    with served(tmp_path, **begun) as client:
        assert client.get("/slicer/mrml/names?name=Landmarks").json() == []
        assert client.get("/scene/v1/state").json()["restored"] is True
    with pytest.raises(InvalidRequest, match="Nonsense is none of MRHead"):
        Settings(scene_samples=("Nonsense",))


def test_scripts_end_in_time(tmp_path: Path, home: Path) -> None:
    with served(tmp_path, **EXEC, scene_exec_seconds=0.5) as client:
        fill(client)
        status, body = run(client, "while True:\n    try:\n        x = 1\n    except Exception:\n        pass")
        assert (status, b"longer than 0.5 s" in body) == (413, True)
        assert run(client, "__execResult = 7") == (200, b"7"), "the scene has gone on"
        assert client.get("/slicer/mrml/names?name=tracker").json() == ["tracker"]


def test_a_script_that_cannot_be_interrupted_ends_with_its_process(tmp_path: Path, home: Path) -> None:
    with served(tmp_path, **EXEC, scene_exec_seconds=0.5) as client:
        fill(client)
        (pid,) = pids(home)
        status, _ = run(client, "import time; time.sleep(1000)")
        assert status == 503
        assert is_gone(pid)
        assert client.get("/slicer/mrml/names?name=tracker").json() == []


def test_processes_of_a_server_share_one_scene_and_it_outlives_them(tmp_path: Path, home: Path) -> None:
    """Two workers; whichever is asked answers from the same scene, also after both were replaced."""
    program = [sys.executable, "-m", "microtome", "serve", str(tmp_path), "--scene", "--workers", "2", "--port", "0",
               "--no-dicomweb"]  # fmt: skip
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().rstrip(b"/\n").rpartition(b":")[2])
            client = Client(port, None)  # type: ignore[arg-type]
            fill(client)
            (pid,) = pids(home)
            seen = {client.get("/slicer/mrml/names?name=tracker").body for _ in range(30)}
            assert seen == {b'["tracker"]'}
            workers = children(server.pid)
            server.send_signal(signal.SIGHUP)
            until(lambda: not workers & children(server.pid))
            assert client.get("/slicer/mrml/names?name=tracker").json() == ["tracker"]
            assert pids(home) == [pid]
            # Nobody is left to end it in good order.
            server.kill()
            for worker in children(server.pid):
                os.kill(worker, signal.SIGKILL)
            until(lambda: is_gone(pid))
            until(lambda: not list(home.glob(f"{PREFIX}*")))
        finally:
            server.kill()


def children(pid: int) -> set[int]:
    """Processes that a process has started and that serve."""
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = path.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z" and b"spawn_main" in command:
            found.add(int(path.parent.name))
    return found


def test_folders_that_were_left_behind_are_removed(home: Path) -> None:
    import fcntl

    held, left, new, link = (home / f"{PREFIX}{name}" for name in ("held", "left", "new", "link"))
    for folder in (held, left, new):
        folder.mkdir()
        (folder / "alive").touch()
    link.symlink_to(tmp := home / "elsewhere")
    tmp.mkdir()
    for folder in (held, left):
        os.utime(folder, (1, 1))
    with (held / "alive").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        clean(home)
    assert (held.exists(), left.exists(), new.exists(), tmp.exists()) == (True, False, True, True)


def test_the_web_process_has_no_vtk_in_it(tmp_path: Path, home: Path) -> None:
    code = (
        "import sys, tempfile; from tests.serving import served\n"
        f"with served({str(tmp_path)!r}, scene=True) as client:\n"
        "    assert client.get('/slicer/mrml/names').status == 200\n"
        "    assert client.get('/slicer/slice').status in {200, 500}\n"
        "    roots = {name.partition('.')[0] for name in sys.modules}\n"
        "    found = roots & {'vtk', 'vtkmodules', 'slicer', 'slicer_core'}\n"
        "    assert not found, found\n"
        "    assert 'vtk' not in open('/proc/self/maps').read().lower()\n"
        f"    (mark,) = __import__('pathlib').Path({str(home)!r}).glob('{PREFIX}*/process')\n"
        "    maps = open(f'/proc/{mark.read_text()}/maps').read().lower()\n"
        "    assert 'vtk' in maps, 'the test looks for the right thing'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_log_has_neither_colours_nor_paths() -> None:
    line = (
        "\x1b[0m\x1b[31m2026-11-21 13:17:11.207 (   1.892s) [    7F6D6FC51B80]vtkSlicerColorLogic.cxx:93     ERR|"
        " vtkSlicerColorLogic (0x5610837d5a50): In /builds/Slicer/x.cxx, line 3: not found\x1b[0m"
    )
    assert cleaned(line) == (40, "vtkSlicerColorLogic: In x.cxx, line 3: not found")
    assert cleaned("INFO scene: hello\x07") == (20, "hello")
    assert cleaned("Fatal Python error: Segmentation fault")[0] == 40
    assert len(cleaned("x" * 10_000)[1]) <= 4000
