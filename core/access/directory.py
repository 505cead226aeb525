"""The names of the people of a workspace, and the salt of their ids: one small file."""

import json
import re
import secrets
import threading
from pathlib import Path
from typing import Any

from ..errors import AccessError
from ..store.connection import clean_name
from ..store.files import file_errors, write_atomically
from .people import Person, person_of_name

__all__ = ["Directory"]

_FILE = "people.json"
_MOST = 10_000
_ID = re.compile(r"[0-9a-f]{32}")


class Directory:
    """Reads and writes ``people.json``. One server writes it at a time: the one that holds the workspace.

    Raises:
        StoreError: when the file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / _FILE
        self._lock = threading.Lock()
        self._names, self._salt = self._read()

    def log_in(self, name: str, own_word: str = "") -> Person:
        """The person with this name and word, remembered from now on.

        Raises:
            AccessError: for an empty name.
        """
        label = clean_name(name[:200], "")
        if not label:
            raise AccessError("Say who you are: others see this name beside your jobs and sessions.")
        return self.remember(person_of_name(label[:60], own_word[:1000], salt=self._salt))

    def remember(self, person: Person) -> Person:
        """Keep the name of this person, who logged in by an account."""
        label = Person(person.id, clean_name(person.name, "Somebody")[:60])
        with self._lock:
            if self._names.get(label.id) != label.name:
                if len(self._names) >= _MOST:
                    raise AccessError(f"More than {_MOST} people have used this workspace; nobody else can log in.")
                self._names[label.id] = label.name
                self._write()
        return label

    def people(self) -> list[Person]:
        """Everybody who has logged in, by name."""
        return sorted((Person(key, name) for key, name in self._names.items()), key=lambda one: (one.name, one.id))

    def name(self, person_id: str) -> str:
        """How others call the person with this id; "nobody" for sessions without an owner."""
        return self._names.get(person_id, "somebody else") if person_id else "nobody"

    def _read(self) -> tuple[dict[str, str], bytes]:
        try:
            with file_errors("read", self._file):
                body: Any = json.loads(self._file.read_text(encoding="utf-8")) if self._file.exists() else {}
            names = {str(key): str(name) for key, name in body["names"].items() if _ID.fullmatch(key)}
            return names, bytes.fromhex(body["salt"])
        except (ValueError, KeyError, TypeError, AttributeError):
            # Missing or damaged: a new salt. Whoever gave a word of their own is somebody new then, and says so.
            self._names, self._salt = {}, secrets.token_bytes(16)
            if self._file.exists():
                with file_errors("set aside", self._file):
                    self._file.replace(self._file.with_suffix(".json.damaged"))
            self._write()
            return self._names, self._salt

    def _write(self) -> None:
        body = {"salt": self._salt.hex(), "names": self._names}
        write_atomically(self._file, json.dumps(body, ensure_ascii=False, indent=1).encode())
