"""What stands between a browser and a workspace: who may come in, and as whom."""

from pathlib import Path

from ..errors import AccessError
from ..store import Workspace
from .attempts import Attempts
from .directory import Directory
from .passphrase import Passphrase
from .people import GUEST, Person, person_of_account
from .personal import as_person
from .policy import AccessPolicy
from .uploads import Uploads

__all__ = ["Door"]


class Door:
    """The door of one server on the workspace in ``folder``.

    Raises:
        AccessError: when people shall give a passphrase and there is none.
        StoreError: when the names of the people cannot be read or written.
    """

    def __init__(
        self,
        folder: Path,
        policy: AccessPolicy,
        *,
        passphrase: Passphrase | None = None,
        attempts: Attempts | None = None,
    ) -> None:
        if policy.login == "passphrase" and passphrase is None:
            raise AccessError("People shall log in by a passphrase, and none was given.")
        self.policy = policy
        self.directory = Directory(folder)
        self.uploads = Uploads(policy.limits.uploads_mb)
        self._passphrase = passphrase
        self._attempts = attempts or Attempts()

    def enter(self, name: str, given: str, *, own_word: str = "", place: str = "") -> Person:
        """The person who gives the right passphrase. ``place``: where the browser is, its address on the network.

        Raises:
            AccessError: when it is wrong, when there were too many wrong ones, or when the name is empty.
        """
        if self._passphrase is None:
            raise AccessError("There is no passphrase on this server; log in with your account.")
        wait_s = self._attempts.wait_s(place)
        if wait_s > 0:
            # Also when this one would be right: who guesses learns nothing.
            raise AccessError(f"Too many wrong passphrases; try again in {wait_s:.0f} s.")
        if not self._passphrase.matches(given):
            self._attempts.failed(place)
            raise AccessError("This is not the passphrase of this server.")
        return self.directory.log_in(name, own_word)

    def enter_account(self, issuer: str, subject: str, name: str) -> Person:
        """The person of an OpenID account that the identity provider has checked."""
        if not issuer or not subject:
            raise AccessError("The identity provider did not say who you are (issuer and subject); log in again.")
        return self.directory.remember(person_of_account(issuer, subject, name))

    def view(self, workspace: Workspace, person: Person | None) -> Workspace:
        """The workspace as this person may use it; None: as somebody who has not logged in, and only knows links."""
        return as_person(workspace, person or GUEST, policy=self.policy, directory=self.directory)
