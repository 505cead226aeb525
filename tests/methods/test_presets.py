"""Presets fill in what was not given; what a person gives wins, and what was written is read back as it was."""

import pytest

from core.errors import PlanError
from core.methods import METHODS
from core.methods.presets import OWN, PresetSettings

KINDS = {name: METHODS[name].Settings for name in METHODS if issubclass(METHODS[name].Settings, PresetSettings)}
EVERY = [(kind, name) for kind in KINDS.values() for name in kind.PRESETS]


def test_three_methods_have_presets() -> None:
    assert {"cpd", "dg2pf", "seap"} <= set(KINDS)


@pytest.mark.parametrize(("kind", "name"), EVERY)
class TestPreset:
    def test_it_sets_what_it_says(self, kind, name) -> None:
        settings = kind(preset=name).to_json()
        for key, value in kind.PRESETS[name].items():
            shown = settings[key]
            assert shown == value or {inner: shown[inner] for inner in value} == value

    def test_what_is_given_wins(self, kind, name) -> None:
        stage = "train" if "train" in kind.model_fields else "prune"
        given = kind.parse({"preset": name, stage: {"epochs": 77}})
        assert getattr(given, stage).epochs == 77
        without = kind(preset=name)
        assert given.changed(**{stage: getattr(without, stage)}) == without

    def test_it_is_read_back_as_it_was_written(self, kind, name) -> None:
        settings = kind(preset=name)
        edited = settings.changed(training=settings.training.changed(batch_size=7))
        for one in (settings, edited):
            assert kind.parse(one.to_json()) == one

    def test_choosing_another_replaces_what_it_sets(self, kind, name) -> None:
        edited = kind(preset=OWN).changed(training=kind().training.changed(batch_size=3))
        chosen = edited.changed(preset=name)
        for key, value in kind.PRESETS[name].items():
            shown = chosen.to_json()[key]
            assert shown == value or {inner: shown[inner] for inner in value} == value
        assert edited.changed(preset=OWN) == edited


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("name", ["nonsense", 7, None, ["quick"]])
def test_an_unknown_preset_is_refused(kind, name) -> None:
    with pytest.raises(PlanError, match="preset"):
        kind.parse({"preset": name})
