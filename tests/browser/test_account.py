"""Logging in with an account, in the real browser, against an OpenID provider of our own on this machine."""

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from core.access import Directory
from core.store import Workspace
from tests.robustness.servers import serve

from .conftest import Site, Visit
from .openid_provider import providing

NewVisit = Callable[..., Visit]


@pytest.mark.slow
def test_an_account_opens_the_door_owns_its_sessions_and_logs_out(visit: NewVisit, tmp_path: Path) -> None:
    pytest.importorskip("authlib", reason="needs espalier[login]")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with providing({"sub": "248289761001", "name": "Ann <b>Account</b>"}) as provider:
        secret = tmp_path / "secrets.toml"
        values = {
            "redirect_uri": f"http://127.0.0.1:{port}/oauth2callback",
            "cookie_secret": secrets.token_hex(32),
            "client_id": provider.client_id,
            "client_secret": provider.client_secret,
            "server_metadata_url": provider.metadata_url,
        }
        secret.write_text("[auth]\n" + "".join(f'{key} = "{value}"\n' for key, value in values.items()))
        with serve(tmp_path / "workspace", "--port", str(port), "--oidc", str(secret)) as server:
            ann = visit(Site(server.url, tmp_path / "workspace", tmp_path / "server.log"))
            ann.go()
            ann.sees("This server is for people with an account.")
            ann.click("Log in with your account")
            ann.sees("Ann <b>Account</b>")
            ann.settle()
            assert [path for path in provider.asked if path in ("/authorize", "/token")] == ["/authorize", "/token"]
            with Workspace.open(tmp_path / "workspace") as workspace:
                (known,) = Directory(workspace.folder).people()
                assert known.name == "Ann <b>Account</b>"
                workspace.store.create_session("Ann's own", owner=known.id)
                workspace.store.create_session("Somebody else's", owner="0" * 16)
            # The cookie is the account: a reload asks nobody again.
            ann.go()
            ann.sees("Ann's own")
            assert ann.page.get_by_text("Somebody else's").count() == 0
            assert provider.asked.count("/authorize") == 1
            ann.page.get_by_role("button", name="Ann <b>Account</b>").click()
            ann.click("Log out")
            ann.sees("This server is for people with an account.")
            stranger = visit(Site(server.url, tmp_path / "workspace", tmp_path / "server.log"))
            stranger.go("runs")
            stranger.sees("Log in with your account")
