"""Several people on one server: who is who, whose session it is, and what each may do. Knows no torch and no screen."""

from .attempts import Attempts
from .directory import Directory
from .door import Door
from .oidc import check_oidc
from .passphrase import Passphrase, read_passphrase
from .people import GUEST, Person
from .personal import PersonalStore, as_person
from .policy import AccessPolicy, Limits
from .uploads import Uploads

__all__ = [
    "GUEST",
    "AccessPolicy",
    "Attempts",
    "Directory",
    "Door",
    "Limits",
    "Passphrase",
    "Person",
    "PersonalStore",
    "Uploads",
    "as_person",
    "check_oidc",
    "read_passphrase",
]
