"""The contract of every model source, and what each one promises beyond it."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torchvision

from core.errors import CheckpointError, ModelError
from core.models.checkpoints import checkpoint_classes
from core.models.opening import build_model, resolve_model
from core.models.sources import MODEL_SOURCES, BuiltModel
from core.models.sources import python as python_source
from core.models.sources.python import register_python_factory
from core.models.sources.torchvision_names import CLASSIFICATION, INPUT_SIZES, SEGMENTATION
from core.models.specs import ModelSpec

from ..patience import patient

SMALL = {  # one cheap member of each source
    "sample": "digits_resnet",
    "cifar": "resnet20",
    "torchvision": "squeezenet1_1",
    "timm": "test_resnet",
    "python": "small:build",
}

SOURCE_FILE = """
from torch import nn

def build(num_classes=4):
    layers = nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
    return nn.Sequential(*layers), (3, 16, 16)

def _helper():
    return None

def needs(depth):
    return nn.Linear(depth, depth)
"""


@pytest.fixture(autouse=True)
def _no_factories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(python_source.FACTORIES_VARIABLE, "[]")


@pytest.fixture
def _small_file(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(SOURCE_FILE)
    register_python_factory(tmp_path / "small.py")


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No name can be resolved, and nothing was downloaded before."""

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def random_model(source: str, **fields: object) -> BuiltModel:
    return build_model(ModelSpec.parse({"source": source, "name": SMALL[source], "weights": "random", **fields}))


def output_of(built: BuiltModel) -> torch.Tensor:
    with torch.no_grad():
        output = built.module(torch.randn(2, *built.input_shape))
    return output["out"] if isinstance(output, dict) else output


@pytest.mark.usefixtures("_small_file")
@pytest.mark.parametrize("source", SMALL)
class TestEverySource:
    """What pages and the command line rely on."""

    def test_every_registered_source_is_tested(self, source: str) -> None:
        assert set(MODEL_SOURCES) == set(SMALL)
        assert MODEL_SOURCES.summary(source).endswith(".")

    def test_names_are_unique_and_hold_the_small_one(self, source: str) -> None:
        names = MODEL_SOURCES[source].names()
        assert SMALL[source] in names
        assert len(set(names)) == len(names)

    def test_is_available_here(self, source: str) -> None:
        assert MODEL_SOURCES[source].unavailable() is None

    def test_random_weights_are_labelled_and_follow_the_seed(self, source: str) -> None:
        before = torch.get_rng_state()
        first, again, other = (random_model(source, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(torch.get_rng_state(), before)
        assert any("random" in note for note in first.notes)
        same = [torch.equal(a, b) for a, b in zip(first.module.parameters(), again.module.parameters(), strict=True)]
        assert all(same)
        assert not all(
            torch.equal(a, b) for a, b in zip(first.module.parameters(), other.module.parameters(), strict=True)
        )

    def test_output_has_the_stated_classes(self, source: str) -> None:
        built = random_model(source)
        assert not built.module.training
        assert output_of(built).shape[:2] == (2, built.num_classes)
        assert built.class_names is None or len(built.class_names) == built.num_classes

    def test_number_of_classes_can_be_chosen(self, source: str) -> None:
        built = random_model(source, num_classes=7)
        assert built.num_classes == 7
        assert output_of(built).shape[1] == 7

    def test_checkpoint_brings_its_weights_and_classes(self, source: str, tmp_path: Path) -> None:
        original = random_model(source, num_classes=6, seed=5)
        torch.save({"state_dict": original.module.state_dict()}, tmp_path / "w.pt")
        spec = resolve_model(f"{source}/{SMALL[source]}", checkpoint=tmp_path / "w.pt")
        assert spec.weights == "checkpoint"
        built = build_model(spec)
        assert built.num_classes == 6
        for name, tensor in original.module.state_dict().items():
            assert torch.equal(built.module.state_dict()[name], tensor)

    def test_checkpoint_with_other_classes_than_asked_for_says_what_to_do(self, source: str, tmp_path: Path) -> None:
        torch.save(random_model(source, num_classes=6).module.state_dict(), tmp_path / "w.pt")
        with pytest.raises(CheckpointError, match="set the number of classes to 6"):
            build_model(resolve_model(f"{source}/{SMALL[source]}", checkpoint=tmp_path / "w.pt", num_classes=5))


def test_sources_are_listed_without_torch() -> None:
    code = (
        "import sys; from core.models.opening import resolve_model; from core.models.sources import MODEL_SOURCES;"
        "names = [source.names() for _, source in MODEL_SOURCES.items()]; resolve_model('resnet18', weights='random');"
        "assert 'torch' not in sys.modules and 'torchvision' not in sys.modules and 'timm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


class TestTorchvision:
    def test_names_are_those_of_torchvision(self) -> None:
        models = torchvision.models
        assert sorted(CLASSIFICATION) == sorted(models.list_models(module=models))
        assert sorted(SEGMENTATION) == sorted(models.list_models(module=models.segmentation))

    def test_input_sizes_are_those_of_the_default_weights(self) -> None:
        for name in CLASSIFICATION:
            (side,) = torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size
            assert INPUT_SIZES.get(name, 224) == side, name

    @pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"])
    def test_segmentation(self, name: str) -> None:
        spec = resolve_model(f"torchvision/{name}", weights="random", num_classes=5, input_shape=(3, 32, 64))
        built = build_model(spec)
        assert built.task == "segmentation"
        assert output_of(built).shape == (2, 5, 32, 64)

    @pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
    def test_auxiliary_heads_of_checkpoints_are_ignored(self, name: str, tmp_path: Path) -> None:
        with torch.device("meta"):
            published = torchvision.models.get_model(name, weights=None, init_weights=False, aux_logits=True)
        torch.save({key: torch.zeros(t.shape) for key, t in published.state_dict().items()}, tmp_path / "w.pth")
        built = build_model(resolve_model(name, checkpoint=tmp_path / "w.pth"))
        assert built.num_classes == 1000
        assert any("only training needs were ignored" in note for note in built.notes)

    @pytest.mark.parametrize(("name", "shape"), [("vit_b_32", (3, 64, 64)), ("swin_t", (3, 64, 96))])
    def test_other_input_sizes(self, name: str, shape: tuple[int, int, int]) -> None:
        built = build_model(resolve_model(name, weights="random", num_classes=3, input_shape=shape))
        assert output_of(built).shape == (2, 3)

    def test_impossible_inputs_are_told(self) -> None:
        with pytest.raises(ModelError, match="3 channels; got an input of 1"):
            build_model(resolve_model("resnet18", weights="random", input_shape=(1, 32, 32)))
        with pytest.raises(ModelError, match="square"):
            build_model(resolve_model("vit_b_32", weights="random", input_shape=(3, 64, 32)))
        with pytest.raises(ModelError, match="cannot be built for images of 65×65"):
            build_model(resolve_model("vit_b_32", weights="random", input_shape=(3, 65, 65)))

    @pytest.mark.usefixtures("_offline")
    @pytest.mark.parametrize("name", ["resnet18", "deeplabv3_mobilenet_v3_large", "googlenet"])
    def test_offline_is_said_at_once(self, name: str) -> None:
        before = time.monotonic()
        with pytest.raises(ModelError, match=r"no connection to download\.pytorch\.org.*random weights"):
            build_model(resolve_model(name))
        assert time.monotonic() - before < patient(10)

    @pytest.mark.usefixtures("_offline")
    @pytest.mark.parametrize("num_classes", [None, 5])
    def test_published_weights_are_used_when_they_are_here(self, tmp_path: Path, num_classes: int | None) -> None:
        published = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
        original = torchvision.models.squeezenet1_1(weights=None)
        file = tmp_path / "hub" / "checkpoints" / Path(published.url).name
        file.parent.mkdir(parents=True)
        torch.save(original.state_dict(), file)
        built = build_model(resolve_model("squeezenet1_1", num_classes=num_classes))
        assert torch.equal(built.module.features[0].weight, original.features[0].weight)
        assert built.mean == (0.485, 0.456, 0.406)
        if num_classes is None:
            assert built.class_names is not None
            assert built.class_names[0] == "tench"
        else:
            assert built.class_names is None
            assert any("head was replaced: 5 classes" in note for note in built.notes)
        file.write_bytes(b"PK\x03\x04 damaged")
        with pytest.raises(ModelError, match="Delete the file"):
            build_model(resolve_model("squeezenet1_1"))

    @pytest.mark.slow
    @pytest.mark.parametrize("name", [*CLASSIFICATION, *SEGMENTATION])
    def test_head_of_every_model_is_found(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        regnet = torchvision.models.regnet
        widths = regnet.BlockParams.from_init_params  # computed with tensors, which must have values

        def on_cpu(*arguments: object, **options: object) -> object:
            with torch.device("cpu"):
                return widths(*arguments, **options)

        monkeypatch.setattr(regnet.BlockParams, "from_init_params", on_cpu)
        classes = {"num_classes": 13, "weights": None}
        with torch.device("meta"):
            extra = {"weights_backbone": None} if name in SEGMENTATION else {}
            extra |= {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            module = torchvision.models.get_model(name, **classes, **extra)
        assert checkpoint_classes(module.state_dict()) == 13


class TestTimm:
    def test_names_are_those_of_timm(self) -> None:
        timm = pytest.importorskip("timm")
        assert sorted(MODEL_SOURCES["timm"].names()) == sorted(timm.list_models())

    @pytest.mark.usefixtures("_offline")
    def test_offline_is_said_at_once(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        before = time.monotonic()
        with pytest.raises(ModelError, match=r"no connection to huggingface\.co"):
            build_model(resolve_model("timm/resnet18.a1_in1k"))
        assert time.monotonic() - before < patient(10)

    def test_reason_when_it_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("core.models.sources.timm.find_spec", lambda _: None)
        assert "not installed" in str(MODEL_SOURCES["timm"].unavailable())
        with pytest.raises(ModelError, match="not installed"):
            resolve_model("timm/resnet18")

    def test_channels_and_size_can_be_chosen(self) -> None:
        built = build_model(resolve_model("timm/test_vit", weights="random", input_shape=(1, 96, 96), num_classes=3))
        assert output_of(built).shape == (2, 3)

    def test_failure_is_told(self) -> None:
        with pytest.raises(ModelError, match=r"timm has no “test_vit\.no_such_weights”"):
            build_model(resolve_model("timm/test_vit.no_such_weights", weights="random"))


USING_NN = "from torch import nn\n"


def write(folder: Path, body: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(body)
    return path


class TestPython:
    def test_all_plain_functions_of_a_file(self, tmp_path: Path) -> None:
        assert register_python_factory(write(tmp_path, SOURCE_FILE)) == ("mine:build",)
        assert MODEL_SOURCES["python"].names() == ["mine:build"]
        assert register_python_factory(f"{tmp_path / 'mine.py'}:build") == ("mine:build",)

    def test_file_is_not_run_before_a_model_is_opened(self, tmp_path: Path) -> None:
        register_python_factory(write(tmp_path, "def build():\n    pass\nraise SystemExit(3)\n"))
        with pytest.raises(ModelError, match=r"mine\.py, line 3 .*SystemExit: 3"):
            build_model(resolve_model("python/mine:build"))

    def test_without_a_file_the_reason_says_how(self) -> None:
        assert "--models" in str(MODEL_SOURCES["python"].unavailable())

    def test_other_processes_know_the_factories(self, tmp_path: Path) -> None:
        register_python_factory(write(tmp_path, SOURCE_FILE))
        code = "from core.models.sources import MODEL_SOURCES; print(MODEL_SOURCES['python'].names())"
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], capture_output=True, text=True
        )
        assert done.stdout.strip() == "['mine:build']"

    def test_neighbours_can_be_imported(self, tmp_path: Path) -> None:
        write(tmp_path, SOURCE_FILE, "espalier_test_neighbour.py")
        register_python_factory(
            write(tmp_path, "def build():\n    from espalier_test_neighbour import build as b\n    return b()\n")
        )
        with pytest.raises(ModelError, match="espalier_test_neighbour"):
            build_model(resolve_model("python/mine:build"))
        register_python_factory(
            write(tmp_path, "from espalier_test_neighbour import build\n\ndef make():\n    return build()\n")
        )
        assert build_model(resolve_model("mine:make")).num_classes == 4

    def test_dict_with_everything(self, tmp_path: Path) -> None:
        body = """
from torch import nn
def build():
    return {"module": nn.Conv2d(1, 2, 1), "input_shape": (1, 8, 8), "task": "segmentation",
            "class_names": ["off", "on"], "mean": [0.5], "std": [0.25]}
"""
        register_python_factory(write(tmp_path, body))
        built = build_model(resolve_model("mine:build"))
        assert (built.task, built.num_classes, built.class_names) == ("segmentation", 2, ("off", "on"))
        assert built.facts()["mean"] == [0.5]

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ("def build(:\n", r"mine\.py, line 1: invalid syntax"),
            ("x = 1\n", "no public function"),
            ("def build():\n    return 1 / 0\n", r"mine\.py, line 2 \(“return 1 / 0”\): ZeroDivisionError"),
            ("import nowhere_to_be_found\ndef build():\n    pass\n", r"line 1 .*No module named 'nowhere_to_be_found'"),
            ("def build():\n    return 3\n", "must return an nn.Module.*returned a int"),
            (USING_NN + "def build():\n    return nn.Linear(3, 3)\n", "give its input"),
            (
                USING_NN + "def build():\n    return nn.Linear(3, 3), (3, 'x', 3)\n",
                "channels, height, width",
            ),
            (USING_NN + "def build():\n    return nn.Linear(3, 3), (3, 0, 3)\n", "at least 1"),
            (
                USING_NN + "def build():\n    return nn.Linear(5, 3), (3, 8, 8)\n",
                "while running it on images",
            ),
            (USING_NN + "def build():\n    return nn.Flatten(1, 2), (3, 8, 8)\n", r"\[N, classes\]"),
            (USING_NN + "def build():\n    return {'module': nn.Linear(1, 1), 'size': 3}\n", "'size'"),
            (
                USING_NN + "def build():\n    return {'module': nn.Linear(1, 1), 'task': 'detection'}\n",
                "classification or segmentation; got “detection”",
            ),
        ],
    )
    def test_errors_are_told_with_their_line(self, body: str, words: str, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=words):  # noqa: PT012 - some are found when the file is named already
            register_python_factory(write(tmp_path, body))
            build_model(resolve_model("python/mine:build"))

    def test_unknown_callable_and_file(self, tmp_path: Path) -> None:
        path = write(tmp_path, SOURCE_FILE)
        with pytest.raises(ModelError, match="“other”; it defines: build, needs"):
            register_python_factory(f"{path}:other")
        with pytest.raises(ModelError, match="cannot be read"):
            register_python_factory(tmp_path / "nothing.py")

    def test_only_registered_files_are_run(self, tmp_path: Path) -> None:
        canary = tmp_path / "canary"
        path = write(tmp_path, f"open({str(canary)!r}, 'w')\ndef build():\n    pass\n")
        for name in (f"{path}:build", "mine:build", str(path)):
            with pytest.raises(ModelError):
                build_model(ModelSpec(source="python", name=name))
        assert not canary.exists()

    def test_same_name_from_two_files(self, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        register_python_factory(write(tmp_path, SOURCE_FILE))
        with pytest.raises(ModelError, match="Two files offer"):
            register_python_factory(write(tmp_path / "other", SOURCE_FILE))
