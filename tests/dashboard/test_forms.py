"""Forms from settings types: sections, folds, optional fields, and what is wrong said at its field."""

from typing import ClassVar, Literal

import pytest
from pydantic import Field, ValidationError, model_validator
from streamlit.testing.v1 import AppTest

from core.methods.presets import PresetSettings
from core.settings import Settings
from dashboard.components.forms import problem_sentence


class Teacher(Settings):
    """A nested type."""

    temperature: float = Field(default=4.0, gt=0.0, le=100.0, title="Temperature")
    folder: str | None = Field(default=None, title="Folder")


class Everything(Settings):
    """One field of every kind."""

    epochs: int = Field(default=3, ge=1, le=10, title="Epochs")
    rate: float = Field(default=0.0005, gt=0.0, title="Rate")
    images: int | None = Field(default=None, ge=2, title="Images")
    augment: bool = Field(default=True, title="Augment")
    optimizer: Literal["sgd", "adamw"] = Field(default="adamw", title="Optimizer")
    mode: Literal["a", "b"] | None = Field(default=None, title="Mode")
    levels: tuple[float, ...] = Field(default=(0.1, 0.5), title="Levels")
    kinds: tuple[Literal["x", "y"], ...] = Field(default=("x",), title="Kinds")
    schedule: str = Field(default="cubic", title="Schedule")
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0, title="Momentum", json_schema_extra={"advanced": True})
    teacher: Teacher = Field(default_factory=Teacher, title="Distillation")
    second: Teacher | None = Field(default=None, title="Second teacher")

    @model_validator(mode="after")
    def _levels_grow(self) -> "Everything":
        if list(self.levels) != sorted(self.levels):
            raise ValueError("the levels must grow")
        return self


class Preset(PresetSettings):
    """Fields that a preset fills in."""

    PRESETS: ClassVar = {"quick": {"epochs": 1, "teacher": {"temperature": 2.0}}, "long": {"epochs": 90}}

    preset: Literal["own", "quick", "long"] = Field(default="own", title="Preset")
    teacher: Teacher = Field(default_factory=Teacher, title="Teacher")
    epochs: int = Field(default=3, ge=1, title="Epochs")


def preset_page() -> None:
    import streamlit as st

    from dashboard.components.forms import settings_form
    from tests.dashboard.test_forms import Preset

    # As the Plan page does it: what was found is saved, and is what the next run starts from.
    start = Preset.parse(st.session_state.get("found", {}))
    found = settings_form(Preset, key="f", value=start)
    assert found is not None
    st.session_state["found"] = found.to_json()


def page() -> None:
    import streamlit as st

    from dashboard.components.forms import settings_form
    from tests.dashboard.test_forms import Everything

    found = settings_form(Everything, key="f", choices={"schedule": ["linear", "cubic"]})
    st.session_state["found"] = None if found is None else found.to_json()


@pytest.fixture
def form() -> AppTest:
    run = AppTest.from_function(page, default_timeout=60)
    run.run()
    assert not run.exception
    return run


def found(form: AppTest) -> dict[str, object] | None:
    return form.session_state["found"]  # type: ignore[no-any-return]


def test_untouched_it_gives_the_defaults(form: AppTest) -> None:
    assert found(form) == Everything().to_json()


def test_every_kind_of_field_can_be_changed(form: AppTest) -> None:
    form.number_input(key="f-epochs").set_value(7)
    form.number_input(key="f-images").set_value(50)
    form.toggle(key="f-augment").set_value(False)
    form.selectbox(key="f-optimizer").set_value("sgd")
    form.selectbox(key="f-mode").set_value("b")
    form.text_input(key="f-levels").set_value("0.2; 0.3")
    form.multiselect(key="f-kinds").set_value(["x", "y"])
    form.selectbox(key="f-schedule").set_value("linear")
    form.number_input(key="f-momentum").set_value(0.5)
    form.number_input(key="f-teacher-temperature").set_value(2.0)
    form.toggle(key="f-second-used").set_value(True)
    form.run()
    assert not form.exception
    assert (
        found(form)
        == Everything(
            epochs=7,
            images=50,
            augment=False,
            optimizer="sgd",
            mode="b",
            levels=(0.2, 0.3),
            kinds=("x", "y"),
            schedule="linear",
            momentum=0.5,
            teacher=Teacher(temperature=2.0),
            second=Teacher(),
        ).to_json()
    )


def test_sections_and_advanced_fields_are_folded(form: AppTest) -> None:
    assert [item.label for item in form.expander] == ["Advanced", "Distillation", "Second teacher"]
    assert [item.key for item in form.expander[0].number_input] == ["f-momentum"]


@pytest.mark.row("B33")
def test_what_is_wrong_is_said_in_one_sentence(form: AppTest) -> None:
    form.text_input(key="f-levels").set_value("0.2, much")
    form.run()
    assert found(form) is None
    assert [item.value.replace("\\", "") for item in form.error] == ["Levels must be a number; much came."]


def test_in_a_section_it_is_said_there(form: AppTest) -> None:
    form.number_input(key="f-teacher-temperature").set_value(0.0)
    form.run()
    assert [item.value.replace("\\", "") for item in form.expander[1].error] == ["Temperature must be above 0; 0 came."]


def test_a_rule_over_several_fields_stands_below_the_form(form: AppTest) -> None:
    form.text_input(key="f-levels").set_value("0.5, 0.1")
    form.run()
    assert [item.value.replace("\\", "") for item in form.error] == ["The levels must grow."]


@pytest.mark.parametrize(
    ("value", "words"),
    [({"epochs": 0}, "at least 1"), ({"epochs": 11}, "at most 10"), ({"epochs": 1.5}, "whole number"),
     ({"momentum": 1.0}, "below 1"), ({"optimizer": "rmsprop"}, "does not fit"), ({"epochs": None}, "needs a value")],
)  # fmt: skip
def test_sentences(value: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as report:
        Everything.model_validate(value)
    (item,) = report.value.errors()
    name = str(item["loc"][0])
    sentence = problem_sentence(item, (name, Everything.model_fields[name]))
    assert words in sentence
    assert sentence.startswith(Everything.model_fields[name].title or "")


def test_a_preset_fills_the_fields_which_stay_free() -> None:
    form = AppTest.from_function(preset_page, default_timeout=60).run()
    pills = form.button_group[0]
    assert pills.value is None
    pills.set_value("quick").run()
    assert not form.exception
    assert found(form) == Preset(epochs=1, teacher=Teacher(temperature=2.0)).to_json()
    assert form.number_input(key="f-1-epochs").value == 1
    assert form.number_input(key="f-1-teacher-temperature").value == 2.0
    assert form.button_group[0].value == "quick", "the preset in force is marked"
    form.number_input(key="f-1-epochs").set_value(7).run()
    assert found(form) == Preset(epochs=7, teacher=Teacher(temperature=2.0)).to_json()
    assert form.button_group[0].value is None
    form.button_group[0].set_value("long").run()
    assert found(form) == Preset(epochs=90, teacher=Teacher(temperature=2.0)).to_json()
