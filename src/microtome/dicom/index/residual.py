"""Keys whose attribute has no column, matched against headers (JSON model); private blocks by their creator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from microtome.dicom.matching import Range, Text, normal_text, span_of
from microtome.dicom.query import Key, Path
from microtome.dicom.rows import Attributes, Level, level_of


def wanted_level(path: Path) -> Level:
    """The level at which the first attribute of a path is known."""
    return level_of(path[0])


def fits(header: Attributes, keys: Sequence[Key]) -> bool:
    """Whether a header matches all keys.

    A key for a private creator (gggg,00bb) and keys for its block (gggg,bbee) belong together: the block may have
    another number in the file (PS3.5 §7.8.1). Keys for attributes of one sequence must match in the same item.
    """
    creators = {key.path: key for key in keys if _is_creator(key.path[-1]) and isinstance(key.matcher, Text)}
    return _all_fit(header, keys, creators)


def _all_fit(item: Attributes, keys: Sequence[Key], creators: dict[Path, Key], depth: int = 0) -> bool:
    here = [key for key in keys if len(key.path) == depth + 1]
    if not all(_fits(item, key, creators) for key in here):
        return False
    sequences = dict[str, list[Key]]()
    for key in keys:
        if len(key.path) > depth + 1:
            sequences.setdefault(key.path[depth], []).append(key)
    for tag, inside in sequences.items():
        items = cast("Sequence[Attributes]", item.get(tag, {}).get("Value") or ({},))
        if not any(_all_fit(each or {}, inside, creators, depth + 1) for each in items):
            return False
    return True


def _fits(item: Attributes, key: Key, creators: dict[Path, Key]) -> bool:
    if key.path in creators:
        return any(True for _ in _blocks(item, key))
    if key.time is not None and isinstance(key.matcher, Range):
        return key.matcher.holds(_moment(item, key.path[-1], key.time))
    return any(key.matcher.matches(_values(item, tag)) for tag in _places(item, key, creators))


def _values(item: Attributes, tag: str) -> Sequence[Any]:
    return item.get(tag, {}).get("Value") or ()


def _places(item: Attributes, key: Key, creators: dict[Path, Key]) -> Iterator[str]:
    """Where the attribute of a key stands in this item."""
    tag = key.path[-1]
    creator = creators.get((*key.path[:-1], f"{tag[:4]}00{tag[4:6]}")) if _is_private(tag) else None
    if creator is None:
        yield tag
        return
    for block in _blocks(item, creator):
        yield f"{tag[:4]}{block}{tag[6:]}"


def _blocks(item: Attributes, creator: Key) -> Iterator[str]:
    """The numbers of the blocks that a private creator has reserved."""
    group = creator.path[-1][:4]
    for tag in item:
        if tag[:4] == group and _is_creator(tag) and creator.matcher.matches(_values(item, tag)):
            yield tag[6:]


def _is_private(tag: str) -> bool:
    return int(tag[3], 16) % 2 == 1


def _is_creator(tag: str) -> bool:
    return _is_private(tag) and tag[4:6] == "00" and tag[6:] >= "10"


def _moment(item: Attributes, date: str, time: str) -> str:
    """A date and the time that completes it as one moment; a missing time is midnight."""
    days, hours = _values(item, date), _values(item, time)
    day = span_of("DA", normal_text(days[0])) if days else None
    hour = span_of("TM", normal_text(hours[0])) if hours else None
    return f"{day[0]}{hour[0] if hour else '000000.000000'}" if day else ""
