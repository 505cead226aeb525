"""What a search found, in two sentences. Knows no torch."""

from collections.abc import Mapping
from typing import Any

from ..wording import percent

__all__ = ["cost_words", "sentence_of"]

_UNITS = {"bytes": "bytes", "nonzero": "parameters", "macs": "MACs", "latency_ms": "ms"}
_KEYS = {"bytes": "bytes", "parameters": "nonzero", "macs": "macs", "ms": "latency_ms"}


def cost_words(body: Mapping[str, Any], dense: Mapping[str, Any], cost: str) -> str:
    """A cost beside the dense model's: “132,480 bytes (14.0 % of the dense model's)”."""
    key = _KEYS[cost]
    value, before = body.get(key), dense.get(key)
    if value is None:
        return "of unknown cost"
    number = f"{value:,.0f}" if key != "latency_ms" else f"{value:.3g}"
    share = f" ({100 * value / before:.1f} % of the dense model's)" if before else ""
    return f"{number} {_UNITS[key]}{share}"


def sentence_of(result: Mapping[str, Any]) -> str:
    """What came out of a search, and how surely."""
    plans, target, dense = result["plans"], result["target"], result["dense"]
    if target["goal"] == "front":
        return f"{len(plans)} plans were measured; {len(result['front'])} of them are beaten by none."
    if result["best"] is None:
        return _nothing(result)
    body = plans[result["best"]]
    cost = cost_words({**body["measured"], **body}, dense, target["cost"])
    said = (
        f"{'Smallest' if target['goal'] == 'smallest' else 'Best within the limits'}: {cost}, {_kept(body['measured'])}"
    )
    test = result.get("test")
    if test:
        said += (
            f" On the test split, looked at once: {percent(test['score'])} of {test['n']:,} images, dense "
            f"{percent(test['dense_score'])}; {test['comparison']['sentence']}."
        )
    if result["blocked_by"] and target["goal"] == "smallest":
        said += f" It could not go further: {result['blocked_by']}."
    return said


def _kept(measured: Mapping[str, Any]) -> str:
    return (
        f"{measured['metric']} {percent(measured['score'])} on {measured['n']:,} selection images, dense "
        f"{percent(measured['dense_score'])}; {measured['comparison']['sentence']}."
    )


def _nothing(result: Mapping[str, Any]) -> str:
    target, plans = result["target"], result["plans"]
    asked = []
    if target["score"] is not None:
        asked.append(f"keeps {percent(target['score'])}" + (" surely" if target["sure"] else ""))
    if target["within_ms"] is not None:
        asked.append(f"needs at most {target['within_ms']:g} ms")
    if target["within_bytes"] is not None:
        asked.append(f"takes at most {target['within_bytes']:,} bytes")
    said = f"No plan was found that {' and '.join(asked)}"
    said += f": {result['blocked_by']}." if result["blocked_by"] else "."
    if result["nearest"] is None:
        return f"{said} The nearest possible is the dense model, {percent(result['dense']['score'])}."
    body = plans[result["nearest"]]
    cost = cost_words({**body["measured"], **body}, result["dense"], target["cost"])
    return f"{said} The nearest that was found: {cost}, {_kept(body['measured'])}"
