"""Settings: every option from every source, which source wins, what is refused and what the operator is told.

The tests run over the table of settings: an option that is added to it is tested without a line here.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from itertools import combinations, permutations
from pathlib import Path
from typing import Any, get_type_hints

import click
import pytest

from microtome import settings
from microtome.auth.signed import MIN_SECRET_BYTES, SignedUrls
from microtome.cli.main import commands
from microtome.cli.options import load as load_command
from microtome.cli.serve import serve
from microtome.errors import InvalidRequest
from microtome.server.run import warn_if_open
from microtome.settings import Loaded, Settings

SECRET = "0123456789abcdef"
CLI, OURS, WSI, WS, FILE = SOURCES = ("cli", "microtome", "wsi", "ws", "file")
"""The sources, the strongest first."""
TYPES: dict[str, Any] = get_type_hints(Settings)
NUMBERS = ("2001", "2002", "7", "11", "13", "2000000", "3000000")
TEXTS = ("/a", "/b", "/c", "10.0.0.0/8", "192.0.2.0/24", "the first long secret", "the second long secret")
NEEDED = {"auth_secret": SECRET, "scene_token": SECRET}
"""What other options ask for beside them."""
SAMPLES = ("CTChest", "MRHead")
COLOURS = {"#010203": (1, 2, 3), "4,5,6": (4, 5, 6)}
PRIORITIES = {"tiff=1": (("tiff", 1),), "pil=-2": (("pil", -2),)}
OPTIONS = settings.options()

COMPATIBLE: dict[str, tuple[str, object]] = {
    "host": ("WSI_HOST", "127.0.0.1"),
    "port": ("WSI_PORT", 3000),
    "s3_bucket": ("WSI_S3_BUCKET", None),
    "s3_endpoint": ("WSI_S3_ENDPOINT", None),
    "s3_region": ("WSI_S3_REGION", None),
    "auth_enabled": ("WSI_AUTH_ENABLED", False),
    "auth_secret": ("WSI_AUTH_SECRET", ()),
    "cache_slides": ("WSI_CACHE_SLIDES", 100),
    "cache_blocks": ("WSI_CACHE_BLOCKS", 1024),
    "cache_tiles": ("WSI_CACHE_TILES", 104857600),
    "block_size": ("WSI_BLOCK_SIZE", 262144),
    "jpeg_quality": ("WSI_JPEG_QUALITY", 80),
    "cache_max_age": ("WSI_CACHE_MAX_AGE", 3600),
    "cors_origins": ("WSI_CORS_ORIGINS", ("*",)),
}
"""What compatible servers call an option in the environment, and our default."""


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and an environment that says nothing."""
    for name in os.environ:
        if name.startswith(("MICROTOME_", "WSI_", "WS_", "CSWS_", "WSIT_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def meant(name: str, text: str) -> object:
    """What a text means for an option, from the type of the setting; not from its parser."""
    kind = TYPES[name]
    if kind is bool:
        return {"true": True, "false": False}[text]
    if kind in (int, float):
        return kind(text)
    if kind == tuple[str, ...]:
        return (text,)
    if text in COLOURS or text in PRIORITIES:
        return {**COLOURS, **PRIORITIES}[text]
    if kind == Path | None:
        return Path(text)
    assert kind in (str, str | None), f"say here what texts mean for {name}: {kind}"
    return text


def texts(name: str) -> list[str]:
    """Texts that an option takes, none of them its default; true and false are all there is for a boolean."""
    if TYPES[name] is bool:
        return ["true", "false"]
    found: list[str] = []
    for text in NUMBERS if TYPES[name] in (int, float) else (*COLOURS, *PRIORITIES, *SAMPLES, *TEXTS):
        if (text in COLOURS) != (name == "padding_color") or (text in PRIORITIES) != (name == "format_priority"):
            continue
        if (text in SAMPLES) != (name == "scene_samples"):
            continue
        try:
            OPTIONS[name].parse(text)
        except ValueError:
            continue
        if name == "scene_token" and len(text) < len(SECRET):
            continue
        if meant(name, text) != settings.default_of(name):
            found.append(text)
    assert len(found) >= 2, f"name two values here that {name} takes"
    return found[:2]


def arguments(name: str, text: str) -> list[str] | None:
    """The option on the command line of ``serve``; None when it cannot say that."""
    if name == "data":
        return [text]
    if TYPES[name] is not bool:
        return [settings.flag(name), text]
    if text == "true":
        return [settings.flag(name)]
    return None if name.startswith("no_") else [f"--no-{settings.flag(name)[2:]}"]


def written(values: Mapping[str, object]) -> str:
    """TOML; its texts, numbers, booleans and lists are written as in JSON."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def read(arguments: Iterable[str] = ()) -> Loaded:
    """What ``microtome serve ARGUMENTS`` reads."""
    given = dict(serve.make_context("serve", list(arguments)).params)
    return load_command(given, given.pop("place"))


def say(monkeypatch: pytest.MonkeyPatch, name: str, said: Mapping[str, str]) -> Loaded | None:
    """Settings when each source says what is given for it; None when the command line cannot say it."""
    given = arguments(name, said[CLI]) if CLI in said else []
    if given is None:
        return None
    file: dict[str, object] = {needed: value for needed, value in NEEDED.items() if needed != name}
    if FILE in said:
        file[name] = said[FILE]
    Path("microtome.toml").write_text(written(file))
    theirs = [(source, variable) for source, variable in ((WSI, OPTIONS[name].wsi), (WS, OPTIONS[name].ws)) if variable]
    for source, variable in ((OURS, settings.variable(name)), *theirs):
        if source in said:
            monkeypatch.setenv(variable, said[source])
        else:
            monkeypatch.delenv(variable, raising=False)
    return read(given)


def sources_of(name: str) -> list[str]:
    missing = {WSI: not OPTIONS[name].wsi, WS: not OPTIONS[name].ws}
    return [source for source in SOURCES if not missing.get(source)]


def cases(count: int) -> list[Any]:
    """Every option with every choice of ``count`` of its sources, the stronger first."""
    return [
        pytest.param(name, *chosen, id="-".join((name, *chosen)))
        for name in OPTIONS
        for chosen in combinations(sources_of(name), count)
    ]


@pytest.mark.parametrize(("name", "source"), cases(1))
def test_every_option_can_be_said_in_every_source(monkeypatch: pytest.MonkeyPatch, name: str, source: str) -> None:
    for text in texts(name):
        loaded = say(monkeypatch, name, {source: text})
        if loaded is None:
            continue
        assert getattr(loaded.settings, name) == meant(name, text)
        origin = {
            CLI: settings.flag(name),
            OURS: settings.variable(name),
            WSI: OPTIONS[name].wsi,
            WS: OPTIONS[name].ws,
            FILE: "microtome.toml",
        }
        assert loaded.origins[name] == origin[source]
        assert loaded.warnings == ()


@pytest.mark.parametrize(("name", "strong", "weak"), cases(2))
def test_the_stronger_source_wins(monkeypatch: pytest.MonkeyPatch, name: str, strong: str, weak: str) -> None:
    compared = 0
    for first, second in permutations(texts(name)):
        loaded = say(monkeypatch, name, {strong: first, weak: second})
        if loaded is not None:
            assert getattr(loaded.settings, name) == meant(name, first)
            compared += 1
    assert compared


@pytest.mark.parametrize("name", OPTIONS)
def test_the_default_counts_when_nothing_is_said(name: str) -> None:
    loaded = read()
    assert getattr(loaded.settings, name) == settings.default_of(name)
    assert loaded.origins[name] == "default"


@pytest.mark.parametrize("dashes", [True, False])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_file_may_use_the_types_of_toml_and_either_spelling(name: str, dashes: bool) -> None:
    for text in texts(name):
        value = meant(name, text)
        shown = str(value) if isinstance(value, Path) else value
        file = NEEDED | {"auth_secret": [SECRET]} | {name: shown}
        Path("microtome.toml").write_text(
            written({key.replace("_", "-") if dashes else key: file[key] for key in file})
        )
        loaded = read()
        assert getattr(loaded.settings, name) == value
        assert loaded.warnings == ()


def test_compatible_names_and_defaults() -> None:
    ours = {name: (option.wsi, settings.default_of(name)) for name, option in OPTIONS.items() if option.wsi}
    assert ours == COMPATIBLE


@pytest.mark.parametrize(("short", "name", "value"), [("-p", "port", "4000"), ("-v", "verbose", None)])
def test_short_options(short: str, name: str, value: str | None) -> None:
    expected = True if value is None else int(value)
    assert getattr(read([short, *([value] if value else [])]).settings, name) == expected


def test_the_file_may_be_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, port in (("microtome.toml", 1), ("of-environment.toml", 2), ("named.toml", 3)):
        Path(name).write_text(f"port = {port}\n")
    assert read().settings.port == 1
    monkeypatch.setenv("MICROTOME_CONFIG", "of-environment.toml")
    assert read().settings.port == 2
    assert read(["--config", "named.toml"]).settings.port == 3


@pytest.mark.parametrize("text", [None, "port = = 1", b"\xff\xfe"])
def test_a_file_that_was_named_must_be_there_and_be_toml(text: str | bytes | None) -> None:
    if text is not None:
        Path("x.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidRequest, match=r"x\.toml") as caught:
        read(["--config", "x.toml"])
    assert caught.value.parameter == "config"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("104857600", 104857600), ("100MB", 100_000_000), ("100 MB", 100_000_000), ("100mb", 100_000_000),
        ("100M", 100_000_000), ("100MiB", 104857600), ("100 MiB", 104857600), ("64Mi", 64 << 20), ("1.5k", 1500),
        ("2GB", 2 * 10**9), ("2GiB", 2 << 30), ("1TiB", 1 << 40), (" 5000 ", 5000), ("5000b", 5000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", sources_of("cache_tiles"))
def test_sizes(monkeypatch: pytest.MonkeyPatch, source: str, text: str, size: int) -> None:
    loaded = say(monkeypatch, "cache_tiles", {source: text})
    assert loaded is not None
    assert loaded.settings.cache_tiles == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("10s", 10), ("1.5m", 90), ("250ms", 0.25), ("2h", 7200), ("5 M", 300)]
)
def test_times(text: str, seconds: float) -> None:
    assert read(["--slide-idle", text]).settings.slide_idle == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("YES", True), ("on", True), ("1", True), ("False", False), ("no", False), ("off", False),
     ("0", False)],
)  # fmt: skip
def test_booleans(monkeypatch: pytest.MonkeyPatch, text: str, value: bool) -> None:
    monkeypatch.setenv("MICROTOME_VERBOSE", text)
    assert read().settings.verbose is value


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("port", ["0", "65535"], ["65536", "-1", "1.5", "", "abc", "1e3", "0x10"]),
        ("workers", ["1", "64"], ["0", "65"]),
        ("jpeg_quality", ["1", "100"], ["0", "101"]),
        ("cache_slides", ["1"], ["0"]),
        ("cache_blocks", ["1"], ["0"]),
        ("cache_tiles", ["1"], ["0", "-1", "MB", "100XB", "1PB", "1e3", "", "9" * 30]),
        ("block_size", ["1024", "16777216", "16MiB"], ["1023", "16777217", "17MiB"]),
        ("cache_max_age", ["0", "4294967295"], ["4294967296", "-1"]),
        ("slide_idle", ["0.5"], ["-1", "1d", "soon", ""]),
        ("auth_enabled", [], ["2", "maybe", ""]),
    ],
)
def test_limits(monkeypatch: pytest.MonkeyPatch, name: str, good: list[str], bad: list[str]) -> None:
    for text in good:
        monkeypatch.setenv(settings.variable(name), text)
        read()
    for text in bad:
        monkeypatch.setenv(settings.variable(name), text)
        with pytest.raises(InvalidRequest) as caught:
            read()
        assert settings.variable(name) in caught.value.message
        assert repr(text) in caught.value.message


@pytest.mark.parametrize("name", ["cache_tiles", "slide_idle"])
def test_numbers_without_bound_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(settings.variable(name), "9" * 400)
    with pytest.raises(InvalidRequest):
        read()


def refusing() -> list[str]:
    """Options that do not take every text."""
    return [name for name in OPTIONS if TYPES[name] in (bool, int, float)]


def refused_by_name() -> list[Any]:
    return [
        pytest.param(name, source, id=f"{name}-{source}")
        for name in refusing()
        for source in sources_of(name)
        if not (TYPES[name] is bool and source == CLI)  # flags have no value
    ]


@pytest.mark.parametrize(("name", "source"), refused_by_name())
def test_what_is_refused_is_named(monkeypatch: pytest.MonkeyPatch, name: str, source: str) -> None:
    called = {CLI: settings.flag(name), OURS: settings.variable(name), WSI: OPTIONS[name].wsi or "",
              WS: OPTIONS[name].ws or "", FILE: name}[source]  # fmt: skip
    with pytest.raises(InvalidRequest) as caught:
        say(monkeypatch, name, {source: "nonsense!"})
    assert called in caught.value.message
    assert "nonsense!" in caught.value.message


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "format_priority"])  # which takes a table
def test_a_table_of_the_file_is_no_value(name: str) -> None:
    Path("microtome.toml").write_text(f"{name} = {{ x = 1 }}\n")
    with pytest.raises(InvalidRequest, match=r"microtome\.toml"):
        read()


@pytest.mark.parametrize(("text", "origins"), [("*", ("*",)), ("http://a", ("http://a",)), ("", ()),
                                               (" http://a , http://b,", ("http://a", "http://b"))])  # fmt: skip
@pytest.mark.parametrize("source", [OURS, WSI, FILE])
def test_lists_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, source: str, text: str, origins: tuple[str, ...]
) -> None:
    loaded = say(monkeypatch, "cors_origins", {source: text})
    assert loaded is not None
    assert loaded.settings.cors_origins == origins


@pytest.mark.parametrize("name", ["cors_origins", "auth_secret"])
def test_lists_are_separated_by_commas_on_the_command_line(name: str) -> None:
    assert getattr(read([settings.flag(name), "http://one.example,http://two.example"]).settings, name) == (
        "http://one.example",
        "http://two.example",
    )


def test_lists_may_be_given_one_by_one() -> None:
    read_settings = read(["--cors-origins", "http://a", "--cors-origins", "http://b"]).settings
    assert read_settings.cors_origins == ("http://a", "http://b")


def test_unknown_keys_and_variables_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("microtome.toml").write_text("prot = 1\nhost = '::1'\n[section]\nport = 1\n")
    monkeypatch.setenv("MICROTOME_POTR", "1")
    monkeypatch.setenv("MICROTOME_QQQQ", "secret value")
    monkeypatch.setenv("MICROTOME_TESTDATA", "ours")
    monkeypatch.setenv("WSI_OTHER", "of another program")
    loaded = read()
    told = capsys.readouterr().err
    assert loaded.settings == Settings(host="::1")
    assert [line.split()[0] for line in told.splitlines()] == ["microtome:"] * 4
    for warning, names in zip(
        sorted(loaded.warnings),
        (("MICROTOME_POTR", "MICROTOME_PORT?"), ("MICROTOME_QQQQ",), ("prot", "port?"), ("section",)),
        strict=True,
    ):
        assert warning in told
        for name in names:
            assert name in warning
    assert "secret value" not in told


def test_several_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = "first-secret-of-16", "second-secret-of-16"
    assert read(["--auth-secret", one, "--auth-secret", two]).settings.auth_secrets == (one, two)
    for variable in ("WSI_AUTH_SECRET", "MICROTOME_AUTH_SECRET"):
        monkeypatch.setenv(variable, f"{two}, {one}")
        assert read().settings.auth_secrets == (two, one)
        monkeypatch.delenv(variable)
    Path("microtome.toml").write_text(f"auth-secret = ['{one}', '{two}']\nauth-enabled = true\n")
    assert read().settings.auth_secrets == (one, two)


@pytest.mark.parametrize("secret", ["", "x" * 15, "é" * 7])
def test_short_secrets_are_refused(secret: str) -> None:
    for secrets in ((secret,), ("long enough for all", secret)):
        with pytest.raises(InvalidRequest, match="16 bytes") as caught:
            SignedUrls(secrets)
        assert caught.value.parameter == "auth_secret"
        assert secret not in caught.value.message or not secret


def test_secrets_are_counted_in_bytes() -> None:
    assert MIN_SECRET_BYTES == 16
    SignedUrls(["x" * 16])
    SignedUrls(["é" * 8])


@pytest.mark.parametrize("secret", [None, "", " , "])
def test_signed_urls_need_a_secret(monkeypatch: pytest.MonkeyPatch, secret: str | None) -> None:
    if secret is not None:
        monkeypatch.setenv("MICROTOME_AUTH_SECRET", secret)
    with pytest.raises(InvalidRequest, match="--auth-secret"):
        read(["--auth-enabled"])


def test_secrets_are_never_shown() -> None:
    secret = "a-secret-nobody-may-see"
    loaded = read(["--auth-secret", secret])
    assert secret in loaded.settings.auth_secrets
    shown = f"{loaded!r} {loaded.settings!s} {settings.settings_values(loaded.settings)}"
    assert secret not in shown
    Path("microtome.toml").write_text("auth_secret = 12345678901234567890\n")
    with pytest.raises(InvalidRequest) as caught:
        read()
    assert "1234567" not in caught.value.message


@pytest.mark.parametrize("path", ["slides", "/slides/", "/"])
def test_root_path(path: str) -> None:
    with pytest.raises(InvalidRequest, match="--root-path"):
        read(["--root-path", path])


def test_a_bucket_is_a_place() -> None:
    assert read(["--s3-bucket", "slides"]).settings.data == "s3://slides"
    assert read(["s3://named/first", "--s3-bucket", "slides"]).settings.data == "s3://named/first"


def test_a_bucket_of_the_command_line_wins_over_the_place_of_a_file() -> None:
    Path("microtome.toml").write_text("data = '/slides'\n")
    assert read(["--s3-bucket", "slides"]).settings.data == "s3://slides"


def test_an_empty_bucket_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        read(["--s3-bucket", ""])


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    ("host", "open_to_others"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("::", True), ("10.1.2.3", True)],
)
def test_listening_to_others_without_authentication_is_told(
    caplog: pytest.LogCaptureFixture, host: str, open_to_others: bool, enabled: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_if_open(Settings(host=host, auth_enabled=enabled, auth_secret=(SECRET,)))
    told = [record.getMessage() for record in caplog.records]
    if open_to_others and not enabled:
        [message] = told
        assert host in message
        assert "--auth-enabled" in message
    else:
        assert told == []


def test_only_this_machine_reaches_the_server_unless_told_otherwise() -> None:
    assert Settings().host == "127.0.0.1"
    assert not Settings().auth_enabled


@pytest.mark.parametrize("name", OPTIONS)
def test_the_help_of_serve_explains_every_option(name: str) -> None:
    above = click.Context(commands, **commands.context_settings)
    shown = re.sub(r"\s+", " ", serve.get_help(click.Context(serve, above, info_name="serve")))
    if name == "data":
        assert "[PATH|URL]" in shown
        return
    option = OPTIONS[name]
    assert f"{settings.flag(name)} " in shown
    assert option.help in shown
    names = " ".join(filter(None, (settings.variable(name), option.wsi, option.ws)))
    assert f"[{names}]" in shown
    for short in option.flags:
        assert f"{short}, {settings.flag(name)}" in shown


def test_every_option_of_every_command_has_a_help() -> None:
    for name, command in commands.commands.items():
        assert command.help, name
        for each in command.params:
            assert not isinstance(each, click.Option) or each.help, f"{name} {each.name}"


def test_a_file_of_the_environment_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("WS_DATA_DIR=/of/the/file\nws_title='A title'\nWS_PADDING_COLOR=[1, 2, 3]\nOTHER=x\n")
    found = read()
    assert (found.settings.data, found.settings.title) == ("/of/the/file", "A title")
    assert found.settings.padding_color == (1, 2, 3)
    assert not found.warnings
    monkeypatch.setenv("WS_DATA_DIR", "/of/the/environment")
    assert read().settings.data == "/of/the/environment"


def test_priorities_of_plugins_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WS_PLUGIN_PRIORITY_OPENSLIDE", "-1")
    monkeypatch.setenv("MICROTOME_FORMAT_PRIORITY", "tiff=3")
    assert dict(read().settings.format_priority) == {"openslide": -1, "tiff": 3}
    monkeypatch.setenv("WS_PLUGIN_PRIORITY_OPENSLIDE", "high")
    with pytest.raises(InvalidRequest, match="WS_PLUGIN_PRIORITY_OPENSLIDE"):
        read()


def test_unknown_names_of_the_other_server_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WS_DATA_DIRR", "/x")
    monkeypatch.setenv("WS_CLIENT_ID", "without effect in the original, too")
    (warning,) = read().warnings
    assert "WS_DATA_DIRR" in warning
    assert "WS_DATA_DIR?" in warning
