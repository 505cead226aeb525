"""What holds on this server: how people log in, what they may do with each other's sessions, and how much."""

from typing import Literal

from pydantic import Field

from ..settings import Settings

__all__ = ["AccessPolicy", "Limits"]


class Limits(Settings):
    """How much one person may ask for. They hold where people log in."""

    jobs: int = Field(
        default=20, ge=1, le=1000, title="Jobs per person", description="that wait or run at the same time"
    )
    uploads_mb: int = Field(default=2000, ge=1, title="Uploads per person", description="MB within 24 hours")


class AccessPolicy(Settings):
    """``login`` is "none" (whoever reaches the page is the one person at the keyboard), "passphrase" or "oidc".

    ``others``: a session of another person can be looked at by whoever has its address ("view"), or not even found
    ("refuse").
    """

    login: Literal["none", "passphrase", "oidc"] = "none"
    others: Literal["view", "refuse"] = "view"
    limits: Limits = Limits()

    @property
    def several_people(self) -> bool:
        """Whether people log in, and sessions have owners."""
        return self.login != "none"
