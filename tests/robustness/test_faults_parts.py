"""Optional parts that are not there: what needs them says so, and everything else works."""

import sys
from pathlib import Path

import pytest

from core.store import Workspace
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.seeding import seed_measurements, seed_session


@pytest.mark.row("F19")
def test_a_runtime_that_is_not_installed_cannot_be_chosen_and_says_why(
    served: Workspace, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded = seed_session(served)
    seed_measurements(served, seeded)
    monkeypatch.setattr("core.analysis.runtimes.onnx_runtime.find_spec", lambda _name: None)
    page = open_page("compare", session=seeded.session.id)
    runtimes = page.multiselect(key="latency-runtimes")
    assert "ONNX Runtime" not in " ".join(map(str, runtimes.options))
    assert runtimes.value == ["torch"]
    assert "onnxruntime is not installed" in text_of(page).replace("\\", "")


@pytest.mark.slow
@pytest.mark.row("F19")
def test_without_onnx_runtime_a_file_is_written_and_said_not_to_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import core

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model = core.open_model("sample/digits_resnet")
    report = core.export_onnx(model, tmp_path / "model.onnx", settings=core.OnnxSettings(images=10))
    assert (tmp_path / "model.onnx").stat().st_size > 0
    assert report["passed"] is False
    assert any("not installed" in problem and "pip install" in problem for problem in report["problems"])


@pytest.mark.row("F19")
def test_a_source_of_models_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.models.sources import MODEL_SOURCES

    monkeypatch.setattr("core.models.sources.timm.find_spec", lambda _name: None)
    reason = MODEL_SOURCES["timm"].unavailable()
    assert reason is not None
    assert "timm" in reason
    assert "install" in reason
