"""Espalier's backend, usable as a library. Knows no screen.

>>> import core
>>> model = core.open_model("digits_resnet")                       # doctest: +SKIP
>>> data = core.fit_data(core.open_data("digits"), model)          # doctest: +SKIP
>>> result = core.prune(model, data, core.Plan(sparsity=0.8))      # doctest: +SKIP

Names are imported when they are first used, so that ``import core`` is quick and imports no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .access import AccessPolicy, Directory, Person, as_person
    from .analysis.cost import count_macs, count_parameters, layer_table
    from .analysis.evaluation import Evaluation, evaluate
    from .analysis.latency import LatencySettings, measure_latency
    from .analysis.probe import ProbeSettings
    from .analysis.sensitivity import SensitivitySettings, measure_sensitivity
    from .analysis.speed_difference import SpeedDifference
    from .analysis.statistics import PairedComparison
    from .analysis.statistics import compare_paired as compare
    from .analysis.weights import weight_statistics
    from .analysis.why_faster import why_faster
    from .data.opening import open_data
    from .data.specs import DataSpec
    from .export.onnx_file import OnnxSettings, export_onnx
    from .export.sizes import file_sizes as sizes
    from .export.sizes import load_sparse, save_sparse
    from .jobs.grouping import find_groups
    from .jobs.matching import fit_data
    from .jobs.runner import Runner
    from .methods import prune
    from .models.capture import trace
    from .models.opening import open_model
    from .models.specs import ModelSpec
    from .models.traced import TracedModel
    from .planning.faster import will_it_be_faster
    from .planning.finding import find_fastest, find_smallest, pareto_front
    from .planning.settings import SearchSettings
    from .pruning.plan import Plan
    from .sharing.bundle import export_bundle
    from .sharing.card import model_card
    from .sharing.forking import fork
    from .sharing.importing import import_bundle
    from .sharing.links import open_share, revoke, share
    from .store.workspace import Workspace

# Public name → module, and the name there where it differs.
_PUBLIC = {
    "AccessPolicy": ".access",
    "DataSpec": ".data.specs",
    "Directory": ".access",
    "Evaluation": ".analysis.evaluation",
    "LatencySettings": ".analysis.latency",
    "ModelSpec": ".models.specs",
    "OnnxSettings": ".export.onnx_file",
    "PairedComparison": ".analysis.statistics",
    "Person": ".access",
    "Plan": ".pruning.plan",
    "ProbeSettings": ".analysis.probe",
    "Runner": ".jobs.runner",
    "SearchSettings": ".planning.settings",
    "SensitivitySettings": ".analysis.sensitivity",
    "SpeedDifference": ".analysis.speed_difference",
    "TracedModel": ".models.traced",
    "Workspace": ".store.workspace",
    "as_person": ".access",
    "compare": ".analysis.statistics:compare_paired",
    "count_macs": ".analysis.cost",
    "count_parameters": ".analysis.cost",
    "evaluate": ".analysis.evaluation",
    "export_bundle": ".sharing.bundle",
    "export_onnx": ".export.onnx_file",
    "find_fastest": ".planning.finding",
    "find_groups": ".jobs.grouping",
    "find_smallest": ".planning.finding",
    "fit_data": ".jobs.matching",
    "fork": ".sharing.forking",
    "import_bundle": ".sharing.importing",
    "layer_table": ".analysis.cost",
    "load_sparse": ".export.sizes",
    "measure_latency": ".analysis.latency",
    "measure_sensitivity": ".analysis.sensitivity",
    "model_card": ".sharing.card",
    "open_data": ".data.opening",
    "open_model": ".models.opening",
    "open_share": ".sharing.links",
    "pareto_front": ".planning.finding",
    "prune": ".methods",
    "revoke": ".sharing.links",
    "share": ".sharing.links",
    "save_sparse": ".export.sizes",
    "sizes": ".export.sizes:file_sizes",
    "trace": ".models.capture",
    "weight_statistics": ".analysis.weights",
    "why_faster": ".analysis.why_faster",
    "will_it_be_faster": ".planning.faster",
}

__all__ = [
    "AccessPolicy",
    "DataSpec",
    "Directory",
    "Evaluation",
    "LatencySettings",
    "ModelSpec",
    "OnnxSettings",
    "PairedComparison",
    "Person",
    "Plan",
    "ProbeSettings",
    "Runner",
    "SearchSettings",
    "SensitivitySettings",
    "SpeedDifference",
    "TracedModel",
    "Workspace",
    "as_person",
    "compare",
    "count_macs",
    "count_parameters",
    "evaluate",
    "export_bundle",
    "export_onnx",
    "find_fastest",
    "find_groups",
    "find_smallest",
    "fit_data",
    "fork",
    "import_bundle",
    "layer_table",
    "load_sparse",
    "measure_latency",
    "measure_sensitivity",
    "model_card",
    "open_data",
    "open_model",
    "open_share",
    "pareto_front",
    "prune",
    "revoke",
    "save_sparse",
    "share",
    "sizes",
    "trace",
    "weight_statistics",
    "why_faster",
    "will_it_be_faster",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, original = _PUBLIC[name].partition(":")
    value = getattr(importlib.import_module(module, __name__), original or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
