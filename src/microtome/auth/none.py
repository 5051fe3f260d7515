"""No authentication: everybody may see everything."""

from __future__ import annotations

from microtome.auth.base import PUBLIC, Claim, Grant


class NoAuthentication:
    """For one's own machine, or behind a proxy that knows its users."""

    enabled = False

    def __init__(self, *, private: bool = False) -> None:
        self._grant = Grant(private=private)

    def authorise(self, claim: Claim) -> Grant:
        """Always; answers are for this caller only when something else decided before."""
        return self._grant

    def slide_query(self, slide_id: str, grant: Grant = PUBLIC) -> str:
        """Nothing is needed."""
        return ""

    def catalogue_query(self, grant: Grant = PUBLIC) -> str:
        """Nothing is needed."""
        return ""
