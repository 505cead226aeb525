"""A person: what sessions are owned by."""

import hashlib
from dataclasses import dataclass

__all__ = ["GUEST", "Person", "person_of_account", "person_of_name"]

# scrypt at the cost that OWASP advises for interactive logins with 16 MB of memory (N = 2^14, r = 8, p = 5).
_COST = {"n": 2**14, "r": 8, "p": 5, "dklen": 16}


@dataclass(frozen=True)
class Person:
    """``id`` is what rows hold (32 hexadecimal digits); ``name`` is what others read."""

    id: str
    name: str


GUEST = Person("guest", "a guest")
"""Somebody who has not logged in: owns nothing and sees nothing but what a link shows."""


def person_of_name(name: str, own_word: str, *, salt: bytes) -> Person:
    """The person who gives this name and this word of their own.

    Nothing is registered: the same name and word give the same person, another word gives somebody else of that name.
    Without a word everybody who gives the name is the same person.

    Args:
        salt: of the workspace, so that ids tell nothing outside of it.
    """
    key = f"{len(name)} {name.casefold()} {own_word}".encode()
    return Person(hashlib.scrypt(key, salt=salt, **_COST).hex(), name)


def person_of_account(issuer: str, subject: str, name: str) -> Person:
    """The person of an OpenID account: issuer and subject never change, names and addresses do."""
    return Person(hashlib.sha256(f"{len(issuer)} {issuer} {subject}".encode()).hexdigest()[:32], name)
