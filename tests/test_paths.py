"""The one containment function, on every kind of path that was ever used to escape one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError, StoreError
from core.paths import contained

FOLDER = Path("/srv/inner")


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../x",
        "a/../../x",
        "a/b/../../../inner2",
        "/etc/passwd",
        "//host/share",
        "\\\\host\\share",
        "\\etc",
        "..\\x",
        "a\\..\\..\\x",
        "a/..\\../x",
        "C:\\x",
        "C:x",
        "c:/x",
        "",
        " ",
        "a\0b",
        "x" * 1001,
    ],
)
def test_what_leads_out_is_refused(path: str) -> None:
    with pytest.raises(StoreError):
        contained(FOLDER, path)
    with pytest.raises(DataError):
        contained(FOLDER, path, error=DataError)


@pytest.mark.parametrize("path", [".", "a", "a/b", "a/../b", "./a", "a b", "é", "..a", "a..", "..."])
def test_what_stays_inside_is_taken(path: str) -> None:
    assert FOLDER in (contained(FOLDER, path), *contained(FOLDER, path).parents)


@given(st.text(alphabet="a./\\~: C", max_size=12))
def test_no_text_at_all_leads_out(path: str) -> None:
    try:
        found = contained(FOLDER, path)
    except StoreError:
        return
    assert FOLDER in (found, *found.parents)
