"""Records, weights files and optimizers follow a removal."""

import json
import subprocess
import sys

import pytest
import torch

from core.comb.combing import comb
from core.comb.optimizer import slice_optimizer
from core.comb.record import apply_records, load_weights, record, recorded_removal, save_weights
from core.comb.surgery import remove
from core.errors import ModelError, PlanError
from core.models.cifar_resnet import CifarResNet

from .adversaries import EinsumAttention, Pieces
from .checks import images, random_removal, traced

pytestmark = pytest.mark.filterwarnings("ignore")


def _twice(seed: int = 0):
    torch.manual_seed(0)
    dense = traced(EinsumAttention())
    first = comb(dense)
    once = recorded_removal(dense, first, random_removal(first, seed))
    second = comb(once)
    return dense, once, recorded_removal(once, second, random_removal(second, seed + 1, ratio=0.5))


def test_chained_records_rebuild_the_model() -> None:
    dense, once, twice = _twice()
    records = json.loads(json.dumps(twice.origin["removals"]))
    assert len(records) == 2
    assert all(entry["version"] == 1 for entry in records)
    again = apply_records(dense, records)
    assert torch.equal(again.predict(images(dense)), twice.predict(images(dense)))
    assert again.fingerprint() == twice.fingerprint()
    assert again.origin["removals"] == records
    assert torch.equal(apply_records(dense, records[0]).predict(images(dense)), once.predict(images(dense)))


def test_weights_and_records_reload_in_a_new_process_without_the_authors_code(tmp_path) -> None:
    dense, _, twice = _twice()
    with torch.no_grad():
        for _, parameter in twice.named_parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)  # it was trained since
    dense.save(tmp_path / "dense")
    save_weights(twice, tmp_path / "w.safetensors")
    torch.save({"x": images(twice), "y": twice.eval().predict(images(twice)).detach()}, tmp_path / "xy.pt")
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from core.comb.record import load_weights\n"
        "from core.models.traced import TracedModel\n"
        "folder = Path(sys.argv[1])\n"
        "model = load_weights(TracedModel.load(folder / 'dense'), folder / 'w.safetensors').eval()\n"
        "saved = torch.load(folder / 'xy.pt')\n"
        "assert torch.equal(model.predict(saved['x']), saved['y'])\n"
        "assert len(model.origin['removals']) == 2\n"
        "assert not [name for name in sys.modules if name.startswith('tests')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_does_not_belong_is_refused_in_words(tmp_path) -> None:
    dense, _, twice = _twice()
    other = traced(Pieces())
    body = twice.origin["removals"][0]
    with pytest.raises(PlanError, match="other groups"):
        apply_records(other, body)
    with pytest.raises(PlanError, match="version 2"):
        apply_records(dense, {**body, "version": 2})
    with pytest.raises(PlanError, match="list of integers"):
        apply_records(dense, {**body, "groups": {"patch": ["a"]}})
    with pytest.raises(PlanError, match="must be an object"):
        apply_records(dense, [3])  # type: ignore[list-item]
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        load_weights(dense, tmp_path / "bad.safetensors")


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_the_optimizer_goes_on_in_the_small_network(kind: str) -> None:
    torch.manual_seed(0)
    dense = traced(CifarResNet(20), 16)
    parameters = [parameter for _, parameter in dense.named_parameters()]
    make = {"sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), "adam": lambda p: torch.optim.AdamW(p, 1e-3)}[kind]
    optimizer = make(parameters)
    dense.train().predict(images(dense, 4)).square().mean().backward()
    optimizer.step()
    found = comb(dense)
    removal = random_removal(found, 0)
    pruned = remove(found, removal)
    before = {name: optimizer.state[parameter] for name, parameter in dense.named_parameters()}
    slice_optimizer(optimizer, found, removal, pruned)
    kept = torch.tensor([u for u in range(16) if u not in removal["conv1"]])
    for name, parameter in pruned.named_parameters():
        for key, value in optimizer.state[parameter].items():
            if isinstance(value, torch.Tensor) and value.ndim:
                assert value.shape == parameter.shape
                if name == "conv1.weight":
                    assert torch.equal(value, before[name][key][kept])
    assert {id(p) for p in optimizer.param_groups[0]["params"]} == {id(p) for _, p in pruned.named_parameters()}
    optimizer.zero_grad()
    pruned.train().predict(images(dense, 4)).square().mean().backward()
    optimizer.step()


def test_a_state_of_another_shape_is_refused_and_nothing_changes() -> None:
    dense = traced(Pieces())
    optimizer = torch.optim.SGD([parameter for _, parameter in dense.named_parameters()], 0.1)
    first = optimizer.param_groups[0]["params"][0]
    optimizer.state[first] = {"row": torch.zeros(3)}
    found = comb(dense)
    removal = random_removal(found, 0)
    with pytest.raises(PlanError, match="Start the optimizer anew"):
        slice_optimizer(optimizer, found, removal, remove(found, removal))
    assert optimizer.param_groups[0]["params"][0] is first


def test_a_record_is_small_json() -> None:
    found = comb(traced(Pieces()))
    body = record(found, {"conv": [3, 1]})
    assert body["groups"] == {"conv": [1, 3]}
    assert json.loads(json.dumps(body)) == body
