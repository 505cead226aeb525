"""The Report page, the Share panel on Compare, forks and cards: what a reader and an owner see."""

import pytest

from core.sharing import links
from core.store import Workspace
from dashboard.components.compare_share import server_address
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.seeding import Seeded, seed_measurements, seed_sensitivity, seed_session


@pytest.fixture
def seeded(served: Workspace) -> Seeded:
    seeded = seed_session(served)
    seed_measurements(served, seeded)
    seed_sensitivity(served)
    return seeded


def test_a_report_shows_everything_and_lets_nobody_write(
    served: Workspace, seeded: Seeded, open_page: OpenPage
) -> None:
    store = served.store
    store.save_plan(seeded.session.id, "kept <i>plan</i>", {"sparsity": 0.4})
    token = links.share(served, seeded.session.id, title="For <b>you</b>").token
    before = (store.get_session(seeded.session.id), store.variants(seeded.session.id), store.jobs())
    page = open_page("share", token=token)
    text = text_of(page)
    for words in ("For", "LAMP 90 %", "What each layer can spare", "kept", "Frozen when the link was made", "frozen"):
        assert words in text
    assert [button.key for button in page.button if not button.key.startswith("gallery")] == []
    assert not page.file_uploader
    page.selectbox(key="report-variant").set_value(seeded.variants[1].id).run()
    assert not page.exception
    assert (store.get_session(seeded.session.id), store.variants(seeded.session.id), store.jobs()) == before


def test_later_changes_do_not_reach_the_report(served: Workspace, seeded: Seeded, open_page: OpenPage) -> None:
    token = links.share(served, seeded.session.id).token
    served.store.rename_variant(seeded.variants[-1].id, "renamed later")
    served.store.rename_session(seeded.session.id, "other title")
    text = text_of(open_page("share", token=token))
    assert "LAMP 90 %" in text
    assert "renamed later" not in text
    assert "other title" not in text


def test_wrong_revoked_and_deleted_look_the_same(served: Workspace, seeded: Seeded, open_page: OpenPage) -> None:
    good = links.share(served, seeded.session.id)
    revoked = links.share(served, seeded.session.id)
    links.revoke(served, revoked.share.id)
    copied = links.share(served, seeded.session.id, allow_fork=True)
    fork = links.fork_link(served, copied.token)
    deleted = links.share(served, fork.id)
    served.store.delete_session(fork.id)
    parameters: list[dict[str, str]] = [{}]
    for token in (revoked.token, deleted.token, good.share.id, "<b>../" * 20_000):
        parameters.append({"token": token})
    texts = {text_of(open_page("share", **parameter)) for parameter in parameters}
    assert len(texts) == 1
    assert "No report here" in texts.pop()


def test_a_report_without_variants_is_no_blank_page(served: Workspace, seeded: Seeded, open_page: OpenPage) -> None:
    session = served.store.create_session("model only")
    served.store.set_session_model(session.id, seeded.session.model_id)
    assert "No variant was made yet" in text_of(open_page("share", token=links.share(served, session.id).token))


def test_onnx_only_where_it_is_allowed(served: Workspace, seeded: Seeded, open_page: OpenPage) -> None:
    exported = served.artifacts.put_bytes(b"onnx", ".onnx")
    for variant in seeded.variants:
        served.store.add_measurement(
            variant_id=variant.id, kind="onnx", context={}, result={"artifact": exported, "filename": "m.onnx"}
        )
    keys = {}
    for allowed in (False, True):
        page = open_page("share", token=links.share(served, seeded.session.id, allow_onnx=allowed).token)
        keys[allowed] = {button.key for button in page.get("download_button")}
    assert "report-onnx" in keys[True]
    assert "report-onnx" not in keys[False]
    assert all("report-bundle" not in found for found in keys.values())
    page = open_page("share", token=links.share(served, seeded.session.id, allow_fork=True).token)
    assert "report-bundle" in {button.key for button in page.get("download_button")}


def test_a_fork_leads_to_ones_own_session(served: Workspace, seeded: Seeded, open_page: OpenPage) -> None:
    token = links.share(served, seeded.session.id, title="Open", allow_fork=True).token
    page = open_page("share", token=token)
    page.button(key="report-fork-go").click().run()
    assert not page.exception
    newest = served.store.list_sessions()[0]
    assert newest.id != seeded.session.id
    assert (newest.name, newest.lineage[-1]["how"]) == ("Open", "fork")
    assert "forked from" in text_of(open_page("compare", session=newest.id))


def test_the_owner_makes_lists_and_withdraws_links(served: Workspace, seeded: Seeded, open_page: OpenPage) -> None:
    page = open_page("compare", session=seeded.session.id)
    page.text_input(key="share-title").set_value("A <b>report</b>").run()
    page.checkbox(key="share-fork").check().run()
    page.button(key="share-create").click().run()
    (share,) = served.store.shares(seeded.session.id)
    assert (share.title, share.allow_onnx, share.body["allow_fork"]) == ("A <b>report</b>", False, True)
    address = next(item.value for item in page.code if "/share?token=" in item.value)
    token = address.split("token=")[1]
    assert links.open_share(served, token).title == share.title
    again = open_page("compare", session=seeded.session.id)
    assert token not in text_of(again)
    assert "1 open link" in text_of(again)
    again.button(key=f"share-revoke-{share.id}").click().run()
    assert not again.exception
    assert served.store.get_share(share.id).revoked is not None
    assert "open link" not in text_of(again)
    page.run()
    assert not any("/share?token=" in item.value for item in page.code)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8501/compare", "http://127.0.0.1:8501"),
        ("https://demo.example/app/compare/", "https://demo.example/app"),
        ("https://demo.example/compare?session=1", "https://demo.example"),
        (None, ""),
    ],
)
def test_links_point_to_the_server_that_the_browser_sees(url: str | None, base: str) -> None:
    assert server_address(url) == base
