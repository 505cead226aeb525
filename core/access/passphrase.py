"""The passphrase that everybody on a server shares."""

import hashlib
import hmac
import os
from pathlib import Path

from ..errors import AccessError

__all__ = ["ENVIRONMENT", "Passphrase", "read_passphrase"]

ENVIRONMENT = "ESPALIER_PASSPHRASE"
_SHORTEST = 8
_LONGEST = 1000


class Passphrase:
    """Keeps the hash of a passphrase and compares in constant time.

    Raises:
        AccessError: when it is shorter than 8 characters.
    """

    def __init__(self, text: str) -> None:
        if not _SHORTEST <= len(text) <= _LONGEST:
            raise AccessError(f"The passphrase must have {_SHORTEST} to {_LONGEST} characters; this has {len(text)}.")
        self._hash = _hash(text)

    def matches(self, given: str) -> bool:
        """Whether this is the passphrase; how long the answer takes does not tell how much of it is right."""
        return len(given) <= _LONGEST and hmac.compare_digest(_hash(given), self._hash)


def read_passphrase(file: Path | None) -> Passphrase | None:
    """The passphrase in ``file`` (its first line), else the one in ESPALIER_PASSPHRASE, else None.

    The variable is taken out of the environment, so that processes started later do not inherit it.

    Raises:
        AccessError: when the file cannot be read, or the passphrase is too short.
    """
    inherited = os.environ.pop(ENVIRONMENT, None)
    if file is None:
        return None if inherited is None else Passphrase(inherited)
    try:
        lines = file.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise AccessError(f"The passphrase file {file} cannot be read: {reason}.") from None
    return Passphrase(lines[0].strip() if lines else "")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).digest()
