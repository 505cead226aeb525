"""Passphrases, attempts, names, and how much one may upload."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.access import (
    AccessPolicy,
    Attempts,
    Directory,
    Door,
    Passphrase,
    Person,
    Uploads,
    check_oidc,
    read_passphrase,
)
from core.access.people import person_of_account, person_of_name
from core.errors import AccessError, EspalierError, PlanError, StoreError
from core.store import Workspace


class TestPassphrase:
    @given(right=st.text(min_size=8, max_size=100), given_text=st.text(max_size=1200))
    def test_only_the_passphrase_matches(self, right: str, given_text: str) -> None:
        passphrase = Passphrase(right)
        assert passphrase.matches(right)
        assert passphrase.matches(given_text) == (given_text == right)

    @pytest.mark.parametrize("text", ["", "short", "x" * 1001])
    def test_too_short_or_too_long(self, text: str) -> None:
        with pytest.raises(AccessError, match="8 to 1000"):
            Passphrase(text)

    def test_it_is_read_from_a_file_or_the_environment_and_not_inherited(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import os

        monkeypatch.setenv("ESPALIER_PASSPHRASE", "from outside")
        found = read_passphrase(None)
        assert found is not None
        assert found.matches("from outside")
        assert "ESPALIER_PASSPHRASE" not in os.environ
        assert read_passphrase(None) is None
        file = tmp_path / "passphrase"
        file.write_text("  correct horse \nsecond line\n")
        found = read_passphrase(file)
        assert found is not None
        assert found.matches("correct horse")
        file.write_bytes(b"\xff\xfe\xfa binary")
        for wrong in (file, tmp_path / "missing", tmp_path):
            with pytest.raises(AccessError, match="cannot be read"):
                read_passphrase(wrong)
        file.write_text("")
        with pytest.raises(AccessError, match="8 to 1000"):
            read_passphrase(file)


class TestAttempts:
    def test_five_failures_a_minute_from_one_place(self) -> None:
        clock = [0.0]
        attempts = Attempts(per_place=5, in_all=7, window_s=60, clock=lambda: clock[0])
        for second in range(5):
            assert attempts.wait_s("here") == 0
            clock[0] = float(second)
            attempts.failed("here")
        assert attempts.wait_s("here") == 56
        assert attempts.wait_s("elsewhere") == 0
        clock[0] = 60.0
        assert attempts.wait_s("here") == 0

    def test_many_places_together(self) -> None:
        clock = [0.0]
        attempts = Attempts(per_place=5, in_all=7, window_s=60, clock=lambda: clock[0])
        for place in range(7):
            attempts.failed(str(place))
        assert attempts.wait_s("new") == 60

    def test_places_do_not_fill_the_memory(self) -> None:
        attempts = Attempts(clock=lambda: 0.0)
        for place in range(20_000):
            attempts.failed(str(place))
        assert len(attempts._places) <= 10_000


class TestDirectory:
    def test_the_same_name_and_word_are_the_same_person(self, tmp_path: Path) -> None:
        people = Directory(tmp_path)
        ann = people.log_in("Ann", "my word")
        assert people.log_in("  ann ", "my word").id == ann.id
        others = [people.log_in("Ann"), people.log_in("Ann", "another"), people.log_in("Annm", "y word")]
        assert len({ann.id, *(other.id for other in others)}) == 4
        again = Directory(tmp_path)
        assert again.log_in("Ann", "my word").id == ann.id
        assert again.name(ann.id) == "Ann"
        assert again.name("") == "nobody"
        assert again.name("f" * 32) == "somebody else"
        assert "my word" not in (tmp_path / "people.json").read_text()

    def test_another_workspace_gives_other_ids(self, tmp_path: Path) -> None:
        first, second = (Directory(tmp_path / name) for name in "ab" if (tmp_path / name).mkdir() is None)
        assert first.log_in("Ann").id != second.log_in("Ann").id

    @pytest.mark.parametrize("name", ["", "   ", "\n\t", "\u202e"])
    def test_a_name_that_nobody_can_read_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(AccessError, match="who you are"):
            Directory(tmp_path).log_in(name)

    def test_long_and_hostile_names_become_labels(self, tmp_path: Path) -> None:
        people = Directory(tmp_path)
        assert len(people.log_in("x" * 100_000).name) <= 60
        assert people.log_in("two\nlines\x00").name == "two lines"

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"names": {}}', '{"names": [], "salt": "zz"}'])
    def test_a_damaged_file_is_set_aside(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "people.json").write_text(text)
        assert Directory(tmp_path).log_in("Ann").name == "Ann"
        assert (tmp_path / "people.json.damaged").read_text() == text
        assert json.loads((tmp_path / "people.json").read_text())["salt"]

    def test_ids_of_accounts_and_names_have_one_form(self) -> None:
        account = person_of_account("https://id.example", "42", "Ann")
        named = person_of_name("Ann", "", salt=b"salt")
        assert len(account.id) == len(named.id) == 32
        assert person_of_account("https://id.example", "42", "Ann Married").id == account.id
        assert person_of_account("https://id.example4", "2", "Ann").id != account.id


def test_uploads_are_counted_for_a_day() -> None:
    clock = [0.0]
    uploads = Uploads(10, clock=lambda: clock[0])
    ann, bea = Person("a" * 32, "Ann"), Person("b" * 32, "Bea")
    uploads.take(ann, 6_000_000)
    with pytest.raises(AccessError, match=r"10 MB within 24 hours.*uploaded 6 MB.*has 5 MB"):
        uploads.take(ann, 5_000_000)
    uploads.take(bea, 10_000_000)
    uploads.take(ann, 4_000_000)
    clock[0] = 24 * 3600.0
    uploads.take(ann, 10_000_000)


def test_the_policy_is_settings() -> None:
    policy = AccessPolicy(login="oidc", others="refuse")
    assert AccessPolicy.parse(policy.to_json()) == policy
    assert policy.several_people
    assert not AccessPolicy().several_people
    for wrong in ({"login": "telepathy"}, {"limits": {"jobs": 0}}, {"others": "trust"}):
        with pytest.raises(PlanError):
            AccessPolicy.parse(wrong)


class TestDoor:
    def test_the_right_passphrase_opens_and_wrong_ones_run_out(self, tmp_path: Path) -> None:
        clock = [0.0]
        door = Door(
            tmp_path,
            AccessPolicy(login="passphrase"),
            passphrase=Passphrase("open sesame"),
            attempts=Attempts(per_place=3, clock=lambda: clock[0]),
        )
        ann = door.enter("Ann", "open sesame", place="1")
        assert ann.name == "Ann"
        for _ in range(3):
            with pytest.raises(AccessError, match="not the passphrase"):
                door.enter("Ann", "open says me", place="1")
        with pytest.raises(AccessError, match="try again in 60 s"):
            door.enter("Ann", "open sesame", place="1")
        assert door.enter("Ann", "open sesame", place="2") == ann
        clock[0] = 61.0
        assert door.enter("Ann", "open sesame", place="1") == ann

    def test_an_account_must_be_somebodys(self, tmp_path: Path) -> None:
        door = Door(tmp_path, AccessPolicy(login="oidc"))
        ann = door.enter_account("https://id.example", "42", "Ann <script>")
        assert door.directory.name(ann.id) == "Ann <script>", "a label: it is escaped where it is shown"
        for issuer, subject in (("", "42"), ("https://id.example", "")):
            with pytest.raises(AccessError):
                door.enter_account(issuer, subject, "Ann")
        with pytest.raises(AccessError, match="no passphrase"):
            door.enter("Ann", "", place="")

    def test_a_door_without_a_key_is_not_built(self, tmp_path: Path) -> None:
        with pytest.raises(AccessError, match="none was given"):
            Door(tmp_path, AccessPolicy(login="passphrase"))

    def test_a_guest_sees_nothing_and_writes_nothing(self, workspace: Workspace) -> None:
        door = Door(workspace.folder, AccessPolicy(login="oidc", others="view"))
        sessions = [workspace.store.create_session(owner=owner) for owner in ("", "a" * 32)]
        store = door.view(workspace, None).store
        for session in sessions:
            with pytest.raises(StoreError, match="There is no session"):
                store.get_session(session.id)
            with pytest.raises(EspalierError):
                store.rename_session(session.id, "x")
        for write in (
            store.create_session,
            lambda: store.add_dataset(id="1", name="d", spec={}, description={}),
            lambda: store.put_sensitivity(key="k", model_id="", data_id="", settings={}, result={}, complete=True),
        ):
            with pytest.raises(AccessError, match="Log in first"):
                write()
        assert store.find_share("0" * 64) is None
        assert store.list_sessions(owner="") == []


OIDC = {
    "redirect_uri": "http://localhost:8501/oauth2callback",
    "cookie_secret": "0" * 64,
    "client_id": "espalier",
    "client_secret": "x",
    "server_metadata_url": "https://id.example/.well-known/openid-configuration",
}


class TestAccounts:
    @pytest.fixture(autouse=True)
    def _with_authlib(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object())

    def write(self, folder: Path, **changes: str) -> Path:
        file = folder / "secrets.toml"
        values = {**OIDC, **changes}
        file.write_text("[auth]\n" + "".join(f'{key} = "{value}"\n' for key, value in values.items()))
        return file

    def test_a_complete_file_is_taken(self, tmp_path: Path) -> None:
        assert check_oidc(self.write(tmp_path)).is_absolute()

    @pytest.mark.parametrize(
        ("changes", "word"), [({"client_id": ""}, "missing: client_id"), ({"cookie_secret": "short"}, "32 random")]
    )
    def test_an_incomplete_one_says_what_is_missing(self, tmp_path: Path, changes: dict[str, str], word: str) -> None:
        with pytest.raises(AccessError, match=word):
            check_oidc(self.write(tmp_path, **changes))

    @pytest.mark.parametrize(
        ("text", "word"), [("", "missing"), ("auth = 3", "missing"), ("[auth", "not TOML"), (None, "cannot be read")]
    )
    def test_what_is_no_secrets_file(self, tmp_path: Path, text: str | None, word: str) -> None:
        file = tmp_path / "secrets.toml"
        if text is not None:
            file.write_text(text)
        with pytest.raises(AccessError, match=word):
            check_oidc(file)

    def test_without_authlib_it_says_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(AccessError, match=r"pip install espalier\[login\]"):
            check_oidc(self.write(tmp_path))
