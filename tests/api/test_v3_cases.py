"""The catalogue of the v3 API over HTTP, with each mapper; what callers may not see does not exist for them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from microtome.demo.svs import write_demo
from tests import tiffmaker
from tests.serving import Client, served

OPEN = {"integration": "wsi_service.api.v3.integrations.disable_auth:DisableAuth"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cases of slides and one without any."""
    folder = tmp_path_factory.mktemp("cases")
    for key in ("Aperio/one.svs", "Aperio/two.tif", "Other/three.tif"):
        path = folder / key
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tiffmaker.classic())
    (folder / "Empty").mkdir()
    (folder / "Aperio" / "notes.txt").write_text("no slide")
    (folder / "root.tif").write_bytes(tiffmaker.classic())
    return folder


@pytest.fixture(scope="module")
def simple(folder: Path) -> Iterator[Client]:
    with served(folder, local_mode="wsi_service.simple_mapper:SimpleMapper", **OPEN) as client:
        yield client


def identity(text: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, text).hex


def test_the_simple_mapper(simple: Client) -> None:
    cases = {case["local_id"]: case for case in simple.get("/v3/cases/").json()}
    assert {"Aperio", "Other"} <= set(cases)
    aperio = cases["Aperio"]
    assert list(aperio) == ["id", "local_id", "slides"]
    assert aperio["id"] == identity("Aperio")
    assert set(aperio["slides"]) == {identity("Aperioone.svs"), identity("Aperiotwo.tif")}
    found = simple.get(f"/v3/cases/slides/?slide_id={aperio['id']}").json()
    assert {slide["local_id"] for slide in found} == {"one.svs", "two.tif"}
    assert found == simple.get(f"/v3/cases/slides/?case_id={aperio['id']}").json()
    for slide in found:
        assert slide == simple.get(f"/v3/slides?slide_id={slide['id']}").json()
        assert slide["slide_storage"] == simple.get(f"/v3/slides/storage?slide_id={slide['id']}").json()
        (address,) = slide["slide_storage"]["storage_addresses"]
        assert address["address"] == f"Aperio/{slide['local_id']}"
        assert address["main_address"] is True
        assert simple.get(f"/v3/slides/tile/level/0/tile/0/0?slide_id={slide['id']}").status == 200
        assert simple.get(f"/v3/slides/info?slide_id={slide['id']}").json()["id"] == slide["id"]


def test_unknown_ids_are_told_in_the_words_clients_know(simple: Client) -> None:
    answer = simple.get("/v3/cases/slides/?slide_id=invalid_id")
    assert (answer.status, answer.json()) == (404, {"detail": "Case with case_id invalid_id does not exist"})
    answer = simple.get("/v3/slides?slide_id=invalid_id")
    assert (answer.status, answer.json()) == (404, {"detail": "Slide with slide_id invalid_id does not exist"})
    assert simple.get("/v3/cases/slides/").status == 422


def test_new_files_appear_without_restart(tmp_path: Path) -> None:
    (tmp_path / "case").mkdir()
    with served(tmp_path, local_mode="simple", **OPEN) as client:
        assert client.get("/v3/refresh_local_mapper").json() == {"detail": "Local mapper has been refreshed."}
        (tmp_path / "case" / "late.tif").write_bytes(tiffmaker.classic())
        assert client.get("/v3/refresh_local_mapper").status == 200
        (case,) = client.get("/v3/cases/").json()
        assert case["slides"] == [identity("caselate.tif")]


def test_the_paths_mapper_is_the_usual_one(folder: Path) -> None:
    with served(folder) as client:
        listed = client.get("/v3/cases/?context=").json()
        assert {case["id"].lstrip("/") for case in listed} >= {"Aperio", "Other"}
        assert client.get("/v3/cases/").json() == {"detail": "context is required"}
        assert client.get("/v3/cases/").status == 404
        slides = client.get("/v3/cases/slides/?slide_id=Aperio").json()
        assert [slide["id"] for slide in slides] == ["Aperio/one.svs", "Aperio/two.tif"]
        for spelling in ("Aperio/one.svs", "Aperio>one.svs", "/Aperio/one.svs", "Aperio%2Fone.svs"):
            assert client.get(f"/v3/slides/info?slide_id={spelling}").status == 200, spelling


@pytest.mark.parametrize("spelling", ["../outside.tif", "..%2Foutside.tif", "Aperio/../../outside.tif",
                                      "..>outside.tif", "{folder}/outside.tif", "%2Fetc%2Fpasswd", "Aperio/%00",
                                      "link.tif"])  # fmt: skip
def test_nothing_escapes_the_root(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "outside.tif").write_bytes(tiffmaker.classic())
    inside = tmp_path / "slides"
    (inside / "Aperio").mkdir(parents=True)
    (inside / "link.tif").symlink_to(tmp_path / "outside.tif")
    slide_id = spelling.replace("{folder}", str(tmp_path))
    with served(inside) as client:
        for what in ("info", "tile/level/0/tile/0/0", "download", "storage", "thumbnail/max_size/9/9"):
            answer = client.get(f"/v3/slides/{what}?slide_id={slide_id}")
            assert answer.status in {400, 404}, (what, answer.body[:200])
        assert client.get(f"/v3/slides?slide_id={slide_id}").status in {400, 404}
        assert client.get(f"/v3/cases/?context={slide_id.replace('outside.tif', '')}").status in {200, 404}
        for case in client.get("/v3/cases/?context=../").json():
            assert isinstance(case, str) or "slides" not in case["id"]


def test_a_table_lists_all_slides_of_a_case(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "data.csv"
    table.write_text(
        "g1\tg2\ts1\tc1\tAperio/one.svs\ng1\tg2\ts2\tc1\tAperio/two.tif\ng1\tg2\ts3\tc2\tOther/three.tif\n"
    )
    with served(folder, local_mode="wsi_service.csv_mapper:CSVMapper", table_source=str(table), **OPEN) as client:
        cases = {case["id"]: case["slides"] for case in client.get("/v3/cases/").json()}
        assert cases == {"g1.g2.c.c1": ["g1.g2.w.s1", "g1.g2.w.s2"], "g1.g2.c.c2": ["g1.g2.w.s3"]}
        assert client.get("/v3/slides/info?slide_id=g1.g2.w.s3").status == 200


def test_a_mapper_of_somebody_else(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mapper_of_somebody_else.py").write_text(
        "class Mapper:\n"
        "    def __init__(self, data_dir):\n        self.data_dir = data_dir\n"
        "    def get_cases(self, context):\n        return [{'id': 'c', 'local_id': 'C', 'slides': ['s']}]\n"
        "    def get_slides(self, case_id):\n        return [self.get_slide('s')]\n"
        "    def get_slide(self, slide_id):\n"
        "        address = {'address': 'Aperio/one.svs', 'slide_id': slide_id, 'main_address': True,"
        " 'storage_address_id': 'a'}\n"
        "        return {'id': slide_id, 'local_id': 'S', 'slide_storage': {'slide_id': slide_id, 'storage_type': 'fs',"
        " 'storage_addresses': [address]}}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with served(folder, local_mode="mapper_of_somebody_else:Mapper", **OPEN) as client:
        assert client.get("/v3/cases/").json() == [{"id": "c", "local_id": "C", "slides": ["s"]}]
        assert client.get("/v3/slides/info?slide_id=s").json()["extent"]["x"] == 2048


def test_local_routes_can_be_switched_off(folder: Path) -> None:
    with served(folder, local_routes=False) as client:
        for target in ("/v3/cases/?context=", "/v3/cases/slides/?slide_id=Aperio", "/v3/slides?slide_id=Aperio/one.svs",
                       "/v3/slides/storage?slide_id=Aperio/one.svs", "/v3/refresh_local_mapper"):  # fmt: skip
            assert client.get(target).status == 404
        assert client.get("/v3/slides/info?slide_id=Aperio/one.svs").status == 200


def test_a_server_set_up_like_the_original_is_closed_until_a_login_is_named(folder: Path) -> None:
    with served(folder, local_mode="simple") as client:
        answer = client.get("/v3/cases/")
        assert (answer.status, answer.json()) == (401, {"detail": "Integration not configured"})
        assert client.get("/v3/slides/info").status == 401, "strangers learn nothing about parameters"
        assert client.get("/alive").status == 200


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A login whose rule is the first letter of a slide's id: ``alice`` sees a..., ``bob`` sees b..."""
    folder = tmp_path_factory.mktemp("named")
    (folder / "their_login.py").write_text(
        "class Login:\n"
        "    def __init__(self, settings, logger, http_client):\n        pass\n"
        "    def global_depends(self):\n"
        "        async def depends(headers=None):\n            return None\n"
        "        return None\n"
        "    async def allow_access_slide(self, auth_payload, slide_id, manager, plugin, slide=None):\n"
        "        if not slide_id.startswith('a'):\n"
        "            raise Refused()\n"
        "class Refused(Exception):\n    status_code = 403\n    detail = 'not yours'\n"
    )
    slides = folder / "slides"
    for key in ("a/1.tif", "b/2.tif", "a-outer/inner/3.tif", "b-outer/inner/4.tif"):
        (slides / key).parent.mkdir(parents=True)
        (slides / key).write_bytes(tiffmaker.classic())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        with served(slides, integration="their_login:Login") as client:
            yield client


ROUTES = ["slides/info?slide_id={}", "slides/tile/level/0/tile/0/0?slide_id={}", "slides/download?slide_id={}",
          "slides/region/level/0/start/0/0/size/9/9?slide_id={}", "slides/thumbnail/max_size/9/9?slide_id={}",
          "slides?slide_id={}", "slides/storage?slide_id={}", "files/info?paths={}",
          "files/tile/level/0/tile/0/0?slide_id={}"]  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
def test_what_one_may_not_see_does_not_exist(named: Client, route: str) -> None:
    assert named.get("/v3/" + route.format("a/1.tif")).status == 200
    assert named.get("/v3/" + route.format("b/2.tif")).status in {403, 404}
    assert named.get("/v3/" + route.format("b/none.tif")).status == named.get("/v3/" + route.format("b/2.tif")).status


@pytest.mark.parametrize("spelling", ["/b/2.tif", "b>2.tif", "./b/2.tif", "a/../b/2.tif", "//b//2.tif", "%62/2.tif"])
def test_another_spelling_of_an_id_is_not_another_slide(named: Client, spelling: str) -> None:
    assert named.get(f"/v3/slides/info?slide_id={spelling}").status in {403, 404}


def test_lists_hold_what_one_may_see(named: Client) -> None:
    listed = named.get("/v3/cases/?context=").body
    assert b"1.tif" in listed
    assert b"2.tif" not in listed
    assert b"2.tif" not in named.get("/v3/cases/slides/?slide_id=b").body


@pytest.mark.parametrize("target", ["/v3/cases/?context={}", "/v3/cases/slides/?slide_id={}", "/v3/cases/{}/slides/"])
def test_a_folder_one_may_not_see_is_as_one_that_is_not_there(named: Client, target: str) -> None:
    hidden, absent = named.get(target.format("b")), named.get(target.format("c"))
    assert hidden.status == absent.status == 404
    assert hidden.body == absent.body.replace(b"'c'", b"'b'").replace(b" c ", b" b ")
    assert {*hidden.headers} == {*absent.headers}
    assert named.get(target.format("a")).status == 200


def test_folders_of_folders_one_may_not_see_are_not_listed(named: Client) -> None:
    assert {case["local_id"].lstrip("/") for case in named.get("/v3/cases/?context=").json()} == {"a", "a-outer"}


def test_answers_to_somebody_are_private(named: Client) -> None:
    answer = named.get("/v3/slides/tile/level/0/tile/0/0?slide_id=a/1.tif")
    assert answer.headers["cache-control"].startswith("private")


def test_the_demo_is_a_slide_of_every_family(tmp_path: Path) -> None:
    write_demo(tmp_path / "demo.svs", width=1024, height=768)
    with served(tmp_path) as client:
        assert client.get("/v3/cases/slides/?slide_id=").json()[0]["id"].lstrip("/") == "demo.svs"
        assert client.get("/v3/slides/tile/level/0/tile/1/1?slide_id=demo.svs").body == (
            client.get("/tiles/demo.svs/0/1/1.jpg").body
        )
