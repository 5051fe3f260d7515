"""Scripts in the scene, as clients of the original send them; and where the server listens for those clients."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from microtome.server.run import listen
from microtome.settings import Settings
from tests.serving import Client, served

TOKEN = "a token of the tests"
KNOWN = {"x-scene-token": TOKEN}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")
    with served(tmp_path_factory.mktemp("exec"), scene=True, scene_exec=True, scene_token=TOKEN) as client:
        yield client


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("x = 1", b"{}"),
        ("__execResult = 5", b"5"),
        ("__execResult = None", b"null"),
        ("__execResult['a'] = [1, 'é']", b'{"a": [1, "\\u00e9"]}'),
        ("kept = 3\n__execResult = kept", b"3"),
        ("__execResult = kept + 1", b"4"),
        ("def f(n):\n    return 1 if n < 2 else n * f(n - 1)\n__execResult = f(5)", b"120"),
        ("__execResult = slicer.util.getNode('vtkMRMLSliceNodeRed').GetName()", b'"Red"'),
        ("__execResult = slicer.mrmlScene.GetNumberOfNodesByClass('vtkMRMLSliceNode')", b"3"),
        ("__execResult = [numpy.arange(3).sum().item(), vtk.vtkPoints().GetNumberOfPoints(), json.loads('1')]",
         b"[3, 0, 1]"),
        ("__execResult = [os.sep, time.time() > 0, urllib.parse.quote('/ ')]", b'["/", true, "/%20"]'),
    ],
)  # fmt: skip
def test_the_result_is_what_a_script_leaves(client: Client, script: str, result: bytes) -> None:
    answer = client.request("POST", "/slicer/exec", KNOWN, script.encode())
    assert (answer.status, answer.body) == (200, result)
    assert answer.headers["content-type"] == "application/json"


def test_the_source_may_stand_in_the_query(client: Client) -> None:
    script = "__execResult = '100%25 + 1'"
    once = quote(script, safe="")
    assert client.get(f"/slicer/exec?source={once}", KNOWN).json() == "100% + 1", "decoded twice, as the original does"
    assert client.request("POST", "/slicer/exec?source=1/0", KNOWN, b"__execResult = 1").json() == 1
    assert (client.get("/slicer/exec", KNOWN).status, client.get("/slicer/exec", KNOWN).body) == (404, b"")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("1/0", "division by zero"),
        ("__execResult = object()", "Object of type object is not JSON serializable"),
        ("x = = 1", "invalid syntax (<script>, line 1)"),
        ("raise SystemExit(3)", "The script wanted to end the program: 3"),
        ("raise KeyError", "KeyError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("\0", "source code string cannot contain null bytes"),
    ],
)
def test_errors_are_told_by_their_text(client: Client, script: str, message: str) -> None:
    answer = client.request("POST", "/slicer/exec", KNOWN, script.encode())
    assert answer.status == 500
    assert answer.json() == {"success": False, "message": f"Server error: {message}"}
    assert client.request("POST", "/slicer/exec", KNOWN, b"\xff").status == 500
    assert client.request("POST", "/slicer/exec", KNOWN, b"#" * (2 << 20)).status == 413


def test_what_is_printed_is_kept_to_its_end(client: Client) -> None:
    answer = client.request("POST", "/scene/v1/exec", KNOWN, b"for i in range(400_000): print(i)\n__execResult = [1]")
    found = answer.json()
    assert found["result"] == [1]
    assert len(found["output"]) <= 1 << 20
    assert found["output"].endswith("399998\n399999\n")


def test_the_next_free_port_is_taken_when_that_is_wanted() -> None:
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            listen(Settings(port=port))
        with listen(Settings(port=port, port_search=True)) as second:
            found = second.getsockname()[1]
            assert found > port
            with listen(Settings(port=port, port_search=True)) as third:
                assert third.getsockname()[1] > found
