"""A transformer in the real browser: its heads are units that a person removes, and the file that leaves has fewer."""

import re
from collections.abc import Callable
from pathlib import Path

from . import steps
from .conftest import Site, Visit

NewVisit = Callable[..., Visit]


def test_heads_of_a_transformer_are_removed(site: Site, visit: NewVisit, tmp_path: Path) -> None:
    visitor = visit(site).go()
    steps.open_sample(visitor, "digits_vit")
    visitor.sees(re.compile(r"13 groups \(heads 4, head width 4, neurons 4, embedding 1\)"))
    steps.plan(visitor, sparsity=20, method="One-shot structured")
    steps.choose(visitor, "Group or layer", "blocks.0.attention.qkv:heads")
    visitor.slide("Heads that stay", 4)
    visitor.settle().shot("heads-plan")
    steps.run_plan(visitor)
    steps.compare(visitor, "Groups: LAMP 20 %, 1 fixed")
    file = steps.export(visitor, tmp_path)
    visitor.shot("heads-compare")
    dense, pruned = steps.variants_of(visitor)
    # Queries, keys and values of four heads, each 12 wide, instead of six.
    (qkv,) = [layer for layer in pruned.layers if layer["name"] == "blocks.0.attention.qkv"]
    assert qkv["kept_shape"][0] == 3 * 4 * 12
    assert pruned.sizes["parameters"] < dense.sizes["parameters"]
    right, total = steps.answers_of(file, {"source": "digits"})
    assert (total, right) == (pruned.metrics["test"]["n"], round(pruned.metrics["test"]["score"] * total))
