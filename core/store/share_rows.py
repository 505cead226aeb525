"""Shares: frozen reports behind a token, of which only the hash is known here."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select, update

from ..errors import StoreError
from .connection import Rows, clean_name, new_id, now
from .records import Share
from .tables import sessions, shares

__all__ = ["MAX_SHARES", "ShareRows"]

MAX_SHARES = 100


class ShareRows(Rows):
    """The part of ``Store`` that knows shares. ``core.sharing`` makes and opens them."""

    def add_share(
        self,
        session_id: str,
        *,
        token_hash: str,
        title: str,
        body: Mapping[str, Any],
        artifact: str | None = None,
        allow_onnx: bool = False,
    ) -> Share:
        """Store a frozen report.

        Raises:
            StoreError: when the session is gone, or has ``MAX_SHARES`` links that are not revoked.
        """
        values = {
            "id": new_id(),
            "token_hash": token_hash,
            "session_id": session_id,
            "title": clean_name(title, "Report"),
            "body": dict(body),
            "artifact": artifact,
            "allow_onnx": allow_onnx,
            "created": now(),
        }
        with self._write() as connection:
            self._row(connection, sessions, session_id, "session")
            mine = select(shares.c.id).where(shares.c.session_id == session_id, shares.c.revoked.is_(None))
            if len(connection.scalars(mine).all()) >= MAX_SHARES:
                raise StoreError(f"A session has at most {MAX_SHARES} links; revoke some first.")
            connection.execute(insert(shares).values(values))
            return Share.model_validate(self._row(connection, shares, str(values["id"]), "link"))

    def get_share(self, share_id: str) -> Share:
        """The share with this id (not its token), revoked or not; or StoreError."""
        with self._read() as connection:
            return Share.model_validate(self._row(connection, shares, share_id, "link"))

    def find_share(self, token_hash: str) -> Share | None:
        """The share whose token has this SHA-256, revoked or not; or None."""
        with self._read() as connection:
            row = connection.execute(select(shares).where(shares.c.token_hash == token_hash)).mappings().one_or_none()
        return None if row is None else Share.model_validate(dict(row))

    def shares(self, session_id: str) -> list[Share]:
        """The shares of a session, revoked ones too, newest first."""
        query = select(shares).where(shares.c.session_id == session_id).order_by(shares.c.number.desc())
        with self._read() as connection:
            return [Share.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    def revoke_share(self, share_id: str) -> Share:
        """The share, which from now on nobody can open; a second time changes nothing."""
        with self._write() as connection:
            self._row(connection, shares, share_id, "link")
            connection.execute(
                update(shares).where(shares.c.id == share_id, shares.c.revoked.is_(None)).values(revoked=now())
            )
            return Share.model_validate(self._row(connection, shares, share_id, "link"))
