"""From whom identities are hidden."""

from __future__ import annotations

import pytest

from microtome.auth.identities import parse_rule
from microtome.auth.policy import Principal
from microtome.errors import InvalidRequest

CLAIMS = {
    "roles": ["reader", "research-7"],
    "realm_access": {"roles": ["staff"]},
    "scope": "openid profile research",
    "https://login.example/role": "guest",
    "level": 3,
    "trusted": True,
    "a.b": "with a dot",
    "nothing": None,
}


@pytest.mark.parametrize(
    ("rule", "hidden"),
    [
        ("off", False),
        ("", False),
        (" Everyone ", True),
        ("roles=research-*", True),
        ("roles=research", False),
        ("roles=*", True),
        ("roles=re?der", False),
        ("realm_access.roles=staff", True),
        ("realm_access.roles=Staff", False),
        ("realm_access=staff", False),
        ("scope=research", True),
        ("scope=openid profile research", True),
        ("scope=open", False),
        ("https://login.example/role=guest", True),
        ("level=3", True),
        ("trusted=true", True),
        ("a.b=with a dot", True),
        ("nothing=*", False),
        ("missing=*", False),
        ("missing.deeper=*", False),
        ("roles.deeper=*", False),
        ("!roles=reader", False),
        ("!roles=clinician", True),
        ("!missing=*", True),
    ],
)
def test_rules(rule: str, hidden: bool) -> None:
    assert parse_rule(rule).hides(Principal("x", payload=CLAIMS)) is hidden


@pytest.mark.parametrize("payload", [None, "text", ["roles", "clinician"]])
def test_of_whom_nothing_is_known_sees_nothing(payload: object) -> None:
    for rule in ("roles=research", "!roles=clinician", "everyone"):
        assert parse_rule(rule).hides(Principal("x", payload=payload))
    assert not parse_rule("off").hides(Principal("x", payload=payload))


@pytest.mark.parametrize(
    "rule", ["on", "true", "roles", "roles=", "=x", "!", "!roles", "!!roles=x", "roles==x", "ro les=x"]
)
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_rule(rule)
    assert caught.value.parameter == "dicom_deidentify"
