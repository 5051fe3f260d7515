"""Keys for S3 out of the shared files that other tools of the field use too (``~/.aws/credentials``)."""

from __future__ import annotations

from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path

from microtome.errors import InvalidRequest


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """What a profile says. ``keys`` are key id, secret and session token (None without one). Never printed."""

    keys: tuple[str, str, str | None] | None = None
    region: str | None = None
    endpoint: str | None = None


def shared_profile(environ: Mapping[str, str], home: Path) -> Profile:
    """The profile named by ``AWS_PROFILE``, else "default"; an empty one when there are no such files.

    ``AWS_SHARED_CREDENTIALS_FILE`` and ``AWS_CONFIG_FILE`` move the files. Keys in the environment win over the files:
    then the profile has none. Raises InvalidRequest when a file is malformed or a profile asked for does not exist.
    """
    name = environ.get("AWS_PROFILE", "default")
    credentials = _section(Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws/credentials"), name)
    config_name = name if name == "default" else f"profile {name}"
    config = _section(Path(environ.get("AWS_CONFIG_FILE") or home / ".aws/config"), config_name)
    if "AWS_PROFILE" in environ and not credentials and not config:
        raise InvalidRequest("The profile named by AWS_PROFILE does not exist", parameter="profile")
    merged = {**config, **credentials}
    key_id, secret = merged.get("aws_access_key_id"), merged.get("aws_secret_access_key")
    keys = None
    if key_id and secret and "AWS_ACCESS_KEY_ID" not in environ:
        keys = (key_id, secret, merged.get("aws_session_token") or None)
    region = None if {"AWS_REGION", "AWS_DEFAULT_REGION"} & environ.keys() else merged.get("region") or None
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or merged.get("endpoint_url")
    return Profile(keys, region, endpoint or None)


def _section(path: Path, name: str) -> dict[str, str]:
    # No interpolation: a secret may hold "%". No default section: "default" is a profile like the others.
    parser = ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except (ConfigError, UnicodeDecodeError):
        # Not chained: the message of the parser quotes lines of a file that holds secrets.
        raise InvalidRequest("The file of shared credentials is malformed", parameter="profile") from None
    return dict(parser[name]) if parser.has_section(name) else {}
