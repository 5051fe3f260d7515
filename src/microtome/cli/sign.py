"""``microtome sign``."""

from __future__ import annotations

import json
import time

import click

from microtome.auth.signed import sign_url
from microtome.cli.options import Failure


@click.command()
@click.option("--path", "-p", required=True, help="Path to sign, verbatim, such as /tiles/slide.svs/0/0/0.jpg.")
@click.option(
    "--secret",
    "-s",
    required=True,
    envvar=["MICROTOME_AUTH_SECRET", "WSI_AUTH_SECRET"],
    help="Secret of the signature (the first one of several). [MICROTOME_AUTH_SECRET WSI_AUTH_SECRET]",
)
@click.option("--ttl", "-t", type=click.IntRange(min=0), default=3600, show_default=True, help="Validity in seconds.")
@click.option("--base-url", "-b", help="Address of the server, put before the path.")
@click.option("--params", "-P", help="Query parameters to sign as well: name=value,name=value.")
@click.option("--format", "-f", "form", type=click.Choice(["url", "json", "signature"]), default="url",
              show_default=True, help="What to print.")  # fmt: skip
def sign(path: str, secret: str, ttl: int, base_url: str | None, params: str | None, form: str) -> None:
    """Print a signed URL."""
    secret = secret.split(",")[0].strip()
    if not path:
        raise Failure("the path to sign is empty")
    if not secret:
        raise Failure("the secret is empty")
    if ttl == 0:
        raise Failure("--ttl must be more than 0 seconds")
    pairs: list[tuple[str, str]] = []
    for piece in params.split(",") if params else []:
        name, equals, value = piece.partition("=")
        if not equals or not name:
            raise Failure(f"--params: {piece!r} is not name=value")
        pairs.append((name, value))
    signed = sign_url(secret, path, expiry=int(time.time()) + ttl, params=pairs, base_url=base_url or "")
    if form == "signature":
        click.echo(signed.signature)
    elif form == "json":
        url = signed.url if base_url else None
        found = {"expiry": signed.expiry, "path": path, "signature": signed.signature, "ttl": ttl, "url": url}
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(signed.url)
        if not base_url:
            click.echo("\nTip: --base-url http://HOST:PORT makes this a complete URL", err=True)
