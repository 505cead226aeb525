"""Write a model card: facts for programs in its head, the same for people below."""

import inspect
import json
import platform
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from core.analysis.evaluation import Evaluation
from core.data.splits import Splits

from . import SampleInfo

__all__ = ["write_card"]


def write_card(
    info: SampleInfo,
    network: nn.Module,
    splits: Splits,
    *,
    recipe: str,
    seconds: float,
    cpu_seconds: float,
    test: Evaluation,
) -> None:
    """Write the card of a freshly trained model; ``test`` is its evaluation on the test split."""
    facts: dict[str, Any] = {
        "metric": test.metric,
        "score": round(test.score, 6),
        "low": round(test.interval[0], 6),
        "high": round(test.interval[1], 6),
        "n": test.n,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "macs": _count_macs(network, info),
        "mean": list(splits.mean),
        "std": list(splits.std),
        "data_fingerprint": splits.fingerprint,
    }
    head = "".join(f"{name}: {json.dumps(value)}\n" for name, value in facts.items())
    info.card_file.parent.mkdir(exist_ok=True)
    info.card_file.write_text(f"---\n{head}---\n{_text(info, network, splits, facts, recipe, seconds, cpu_seconds)}")


def _count_macs(network: nn.Module, info: SampleInfo) -> int:
    """MACs of one example; torch counts two operations for each."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *info.input_shape))
    return int(counter.get_total_flops()) // 2


def _text(
    info: SampleInfo,
    network: nn.Module,
    splits: Splits,
    facts: dict[str, Any],
    recipe: str,
    seconds: float,
    cpu_seconds: float,
) -> str:
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (splits.mean, splits.std))
    score, low, high = (f"{100 * facts[key]:.2f}" for key in ("score", "low", "high"))
    counts = f"{len(splits.train):,} training, {len(splits.select):,} selection and {len(splits.test):,} test images"
    threads = "one thread" if torch.get_num_threads() == 1 else f"{torch.get_num_threads()} threads"
    size_bytes = info.weights_file.stat().st_size
    made = (
        "composed by `sample_models/scenes.py`,\nanew for every epoch of training"
        if info.task == "segmentation"
        else "enlarged to 32×32"
    )
    return f"""# {info.name}: {info.title}

{inspect.getdoc(network)}

- Task: {info.task}, {info.num_classes} classes: {", ".join(info.class_names)}.
- Input: {"×".join(map(str, info.input_shape))}, pixels divided by 255, mean {mean}, standard deviation {std}.
- Size: {facts["parameters"]:,} parameters, {facts["macs"]:,} MACs per image, {size_bytes:,} bytes.
- Result: **{facts["metric"]} {score} %** on the test split, 95 % interval {low} to {high}, n = {facts["n"]} images.

## Data
`open_data("{info.data}")`: {counts}, from disjoint scans.
No image of the test split took part in training, and choices followed the selection split; its score was also seen
in trial runs. The scans are those that scikit-learn ships (E. Alpaydin and C. Kaynak, *Optical Recognition of
Handwritten Digits*, UCI, 1998, CC BY 4.0), {made}.

## Training
```
python -m sample_models.train {info.name}
```
AdamW with a one-cycle learning rate: {recipe}.
With seed 0 and {threads} it took {cpu_seconds:.0f} s of CPU time ({seconds:.0f} s on a busy machine) with PyTorch
{torch.__version__} on {platform.machine()}. Other versions, thread counts or machines give slightly other weights.

## Meant for
Trying out pruning. It is larger than its task needs, on purpose; it is no reader of handwriting.
"""
