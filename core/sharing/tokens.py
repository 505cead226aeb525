"""Tokens of links: 192 random bits, of which the workspace keeps the SHA-256 only."""

import hashlib
import hmac
import secrets

__all__ = ["hash_of", "is_token_of", "new_token"]

_BYTES = 24


def new_token() -> str:
    """A token that nobody can guess: 32 characters that may stand in an address."""
    return secrets.token_urlsafe(_BYTES)


def hash_of(token: str) -> str:
    """What is stored of a token. It has 192 random bits, so that no slow hash is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def is_token_of(token: str, token_hash: str) -> bool:
    """Whether the hash is that of the token, in a time that does not tell how near it was."""
    return hmac.compare_digest(hash_of(token), token_hash)
