"""Accounts of an identity provider (OpenID Connect): what Streamlit needs to ask it."""

import importlib.util
import tomllib
from pathlib import Path

from ..errors import AccessError

__all__ = ["check_oidc"]

_KEYS = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
_SHORTEST_SECRET = 32


def check_oidc(file: Path) -> Path:
    """The absolute path of a secrets file with a complete ``[auth]`` section.

    Raises:
        AccessError: when Authlib is missing, or the file cannot be read, is no TOML or lacks something.
    """
    if importlib.util.find_spec("authlib") is None:
        raise AccessError("Logging in with accounts needs Authlib; install it with: pip install espalier[login]")
    try:
        section = tomllib.loads(file.expanduser().read_text(encoding="utf-8")).get("auth", {})
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise AccessError(f"The secrets file {file} cannot be read: {reason}.") from None
    except tomllib.TOMLDecodeError as error:
        raise AccessError(f"The secrets file {file} is not TOML: {error}.") from None
    missing = [key for key in _KEYS if not isinstance(section, dict) or not section.get(key)]
    if missing:
        raise AccessError(f"The section [auth] of {file} must have {', '.join(_KEYS)}; missing: {', '.join(missing)}.")
    if len(str(section["cookie_secret"])) < _SHORTEST_SECRET:
        raise AccessError(
            f"cookie_secret in {file} must be {_SHORTEST_SECRET} random characters or more: python -c "
            '"import secrets; print(secrets.token_hex(32))"'
        )
    return file.expanduser().absolute()
