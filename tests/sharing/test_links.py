"""Links: frozen, read-only, revocable, and the same answer to everything that opens none (B42)."""

import dataclasses
from pathlib import Path

import pytest
from pydantic import ValidationError

import core
from core.errors import StoreError
from core.sharing import links, tokens
from core.store import Session, Store, Workspace

Made = tuple[Workspace, Session]


@pytest.mark.row("B42")
def test_a_token_has_at_least_128_random_bits_and_is_not_stored(made: Made) -> None:
    workspace, session = made
    new = [links.share(workspace, session.id) for _ in range(3)]
    assert len({link.token for link in new}) == 3
    assert tokens._BYTES * 8 >= 128
    content = b"".join(path.read_bytes() for path in workspace.folder.glob("espalier.sqlite*"))
    for link in new:
        assert link.token.encode() not in content
        assert link.share.token_hash == tokens.hash_of(link.token)
        assert tokens.is_token_of(link.token, link.share.token_hash)
        assert not tokens.is_token_of(link.token[:-1] + "é", link.share.token_hash)


def test_a_report_holds_everything_that_was_measured(made: Made) -> None:
    workspace, session = made
    report = links.open_share(workspace, links.share(workspace, session.id, title="For you").token)
    assert (report.title, report.allow_onnx, report.allow_fork) == ("For you", False, False)
    snapshot = report.snapshot
    dense, half = snapshot.variants
    assert snapshot.dense == dense
    assert half.plan is not None
    assert half.metrics["test"]["low"] <= half.metrics["test"]["score"] <= half.metrics["test"]["high"]
    assert {item.kind for item in snapshot.measurements} == {"onnx", "gallery", "latency"}
    assert set(snapshot.sensitivities[0].result["layers"]) == {"first", "second", "head"}
    assert [plan.name for plan in snapshot.plans] == ["kept"]
    records = snapshot.variant_records()
    assert records[1].metrics == half.metrics
    assert [item.kind for item in snapshot.measurement_records(half.id)] == ["onnx", "gallery", "latency"]


def test_a_report_is_frozen(made: Made) -> None:
    workspace, session = made
    store = workspace.store
    copy = links.fork_link(workspace, links.share(workspace, session.id, allow_fork=True).token, name="a copy")
    token = links.share(workspace, copy.id).token
    before = links.open_share(workspace, token)
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.title = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        before.snapshot.name = "other"
    store.rename_session(copy.id, "renamed")
    for variant in reversed(store.variants(copy.id)):
        store.delete_variant(variant.id)
    store.save_draft(copy.id, {"sparsity": 0.1}, revision=store.get_session(copy.id).revision)
    assert links.open_share(workspace, token) == before
    # Nor are its files collected while the link stands.
    workspace.collect_garbage(older_than_s=0)
    assert all(artifact in workspace.artifacts for _, artifact in before.snapshot.saved_models())


@pytest.mark.row("B42")
def test_whatever_opens_no_report_gets_the_same_answer_in_the_same_way(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, session = made
    store = workspace.store
    good = links.share(workspace, session.id)
    revoked = links.share(workspace, session.id)
    assert links.revoke(workspace, revoked.token).revoked is not None
    copy = links.fork_link(workspace, links.share(workspace, session.id, allow_fork=True).token)
    of_deleted = links.share(workspace, copy.id)
    store.delete_session(copy.id)
    steps: list[str] = []
    find, compare = Store.find_share, tokens.hmac.compare_digest
    monkeypatch.setattr(Store, "find_share", lambda self, key: steps.append("look") or find(self, key))
    monkeypatch.setattr(tokens.hmac, "compare_digest", lambda a, b: steps.append("compare") or compare(a, b))
    guesses = [
        "",
        "x",
        good.share.id,
        good.share.token_hash,
        good.token[:-1],
        good.token + "A",
        good.token.swapcase(),
        chr(ord(good.token[0]) + 1) + good.token[1:],
        "' OR 1=1 --",
        "../../etc/passwd",
        "\0",
        "\udcff",
        "é" * 100_000,
        revoked.token,
        of_deleted.token,
    ]
    for guess in guesses:
        steps.clear()
        with pytest.raises(StoreError) as error:
            links.open_share(workspace, guess)
        assert str(error.value) == links.NOT_FOUND
        assert steps == ["look", "compare"]
    assert links.open_share(workspace, good.token).title == session.name


@pytest.mark.row("B42")
def test_revoking_by_id_or_by_token_and_only_what_exists(made: Made) -> None:
    workspace, session = made
    one, other = (links.share(workspace, session.id) for _ in range(2))
    first = links.revoke(workspace, one.share.id)
    assert first == links.revoke(workspace, one.token)
    links.revoke(workspace, other.token)
    for link in (one, other):
        with pytest.raises(StoreError):
            links.open_share(workspace, link.token)
    with pytest.raises(StoreError, match="no link"):
        links.revoke(workspace, "nothing")


@pytest.mark.row("B42")
def test_the_onnx_file_comes_only_where_the_owner_allowed_it(made: Made) -> None:
    workspace, session = made
    dense, half = workspace.store.variants(session.id)
    closed, free = (links.share(workspace, session.id, allow_onnx=allowed).token for allowed in (False, True))
    name, path = links.onnx_file(workspace, free, half.id)
    assert name == "half-of-it.onnx"
    assert path.read_bytes()[:1] == b"\x08"
    for token, variant in ((closed, half.id), (free, dense.id), (free, "../.."), ("wrong", half.id)):
        with pytest.raises(StoreError) as error:
            links.onnx_file(workspace, token, variant)
        assert str(error.value) == links.NOT_FOUND


@pytest.mark.row("B42")
def test_the_bundle_of_a_link_is_what_was_frozen_and_comes_only_where_forks_may(made: Made, tmp_path: Path) -> None:
    workspace, session = made
    made_links = [links.share(workspace, session.id, title="Old/News", allow_fork=allowed) for allowed in (False, True)]
    closed, free = (link.token for link in made_links)
    name, data = links.bundle_file(workspace, free)
    (tmp_path / name).write_bytes(data)
    assert name == "Old-News.espalier.zip"
    with Workspace.open(tmp_path / "elsewhere") as elsewhere:
        copy = core.import_bundle(elsewhere, tmp_path / name)
        assert len(elsewhere.store.variants(copy.id)) == 2
    links.revoke(workspace, made_links[1].share.id)
    for token in (closed, free, "wrong"):
        with pytest.raises(StoreError) as error:
            links.bundle_file(workspace, token)
        assert str(error.value) == links.NOT_FOUND


def test_a_fork_is_ones_own_and_leaves_the_original_untouched(made: Made) -> None:
    workspace, session = made
    store = workspace.store

    def state() -> object:
        ids = [variant.id for variant in store.variants(session.id)]
        return store.get_session(session.id), store.variants(session.id), [store.measurements(id) for id in ids]

    before = state()
    token = links.share(workspace, session.id, title="Open", allow_fork=True).token
    fork = core.fork(workspace, token, name="mine", owner="ada")
    assert (fork.name, fork.owner, fork.model_id, fork.data_id) == ("mine", "ada", session.model_id, session.data_id)
    assert [(step["how"], step["name"], step["title"]) for step in fork.lineage] == [("fork", session.name, "Open")]
    dense, half = store.variants(fork.id)
    assert (dense.plan, half.parent_id) == (None, dense.id)
    original = store.variants(session.id)[1]
    assert (half.artifact, half.metrics, half.layers) == (original.artifact, original.metrics, original.layers)
    # What names a variant names the new one.
    assert store.saved_plans(fork.id)[0].plan["start"] == half.id
    assert store.views(fork.id)[0].body == {"page": "compare", "query": {"variant": half.id}}
    (latency,) = store.measurements(half.id, "latency")
    assert (latency.context["reference"], latency.result["rows"][0]["variant"]) == (dense.id, half.id)
    assert fork.draft_plan == {"sparsity": 0.7, "name": "draft"}
    again = core.fork(workspace, links.share(workspace, fork.id, allow_fork=True).token)
    assert [step["name"] for step in again.lineage] == [session.name, "mine"]
    store.rename_variant(half.id, "other")
    store.delete_session(fork.id)
    assert state() == before


@pytest.mark.row("B42")
def test_what_may_only_be_read_is_not_forked(made: Made) -> None:
    workspace, session = made
    number = len(workspace.store.list_sessions())
    with pytest.raises(StoreError, match="did not allow"):
        core.fork(workspace, links.share(workspace, session.id, allow_onnx=True).token)
    with pytest.raises(StoreError) as error:
        core.fork(workspace, "wrong")
    assert str(error.value) == links.NOT_FOUND
    assert len(workspace.store.list_sessions()) == number


def test_a_session_without_a_model_cannot_be_shared(workspace: Workspace) -> None:
    session = workspace.store.create_session()
    for attempt in (
        lambda: core.share(workspace, session.id),
        lambda: core.share(workspace, "0" * 16),
        lambda: core.export_bundle(workspace, session.id, workspace.folder / "x.zip"),
    ):
        with pytest.raises(StoreError):
            attempt()
    assert workspace.store.shares(session.id) == []
    assert not (workspace.folder / "x.zip").exists()


def test_a_fork_of_a_bundle_says_so(bundle: Path, workspace: Workspace) -> None:
    fork = core.fork(workspace, bundle, name="mine")
    assert [step["how"] for step in fork.lineage] == ["fork"]
