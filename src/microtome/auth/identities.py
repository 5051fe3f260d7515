"""For whom instances are shown without identities: for nobody, for everybody, or by what a login says of a caller."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from microtome.auth.policy import Principal
from microtome.errors import InvalidRequest

OFF, EVERYONE = "off", "everyone"
_RULE = re.compile(r"(?P<but>!?)(?P<claim>[A-Za-z0-9_.:/-]{1,200})=(?P<pattern>[^=].{0,500})")


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """``claim`` is a path of names with dots, ``pattern`` the form of a value of it (``*`` stands for anything).

    ``but``: identities are hidden from all whose claim has no such value, instead of from those whose claim has one.
    """

    everyone: bool = False
    claim: str = ""
    pattern: re.Pattern[str] | None = None
    but: bool = False

    @property
    def by_claim(self) -> bool:
        """Whether it depends on who asks."""
        return self.pattern is not None

    def hides(self, principal: Principal) -> bool:
        """Whether this caller sees no identities; always so for one of whom nothing is known."""
        if self.everyone or self.pattern is None:
            return self.everyone
        claims = principal.payload
        if not isinstance(claims, Mapping):
            return True
        values = _values(cast("Mapping[str, object]", claims), self.claim)
        return any(self.pattern.fullmatch(value) for value in values) is not self.but


def parse_rule(text: str) -> IdentityRule:
    """``off``, ``everyone``, ``CLAIM=PATTERN`` or ``!CLAIM=PATTERN``. Raises InvalidRequest."""
    word = text.strip()
    if word.lower() in {"", OFF}:
        return IdentityRule()
    if word.lower() == EVERYONE:
        return IdentityRule(everyone=True)
    found = _RULE.fullmatch(word)
    if found is None:
        raise InvalidRequest(
            "dicom_deidentify is off, everyone, or a claim and what it must be, such as roles=researcher; with ! before"
            " it, for all whose claim is not so",
            parameter="dicom_deidentify",
        )
    form = ".*".join(map(re.escape, found["pattern"].split("*")))
    return IdentityRule(claim=found["claim"], pattern=re.compile(form, re.DOTALL), but=bool(found["but"]))


def _values(claims: Mapping[str, object], path: str) -> Iterator[str]:
    """The values of a claim: its own name, or a path into objects; of a text with spaces (``scope``) each word."""
    found: object = claims.get(path)
    if found is None:
        *above, last = path.split(".")
        inner: Mapping[str, object] = claims
        for name in above:
            deeper = inner.get(name)
            inner = cast("Mapping[str, object]", deeper) if isinstance(deeper, Mapping) else {}
        found = inner.get(last)
    several = cast("Sequence[object]", found) if isinstance(found, (list, tuple)) else (found,)
    for each in several:
        if isinstance(each, bool):
            yield str(each).lower()
        elif isinstance(each, (str, int)):
            yield str(each)
            yield from str(each).split() if " " in str(each) else ()
