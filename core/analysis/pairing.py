"""One measured cell of a sensitivity result: what a change costs on the images seen so far, beside the dense model.

Both see the same images, so that the difference is known far better than either score. The dense model sees all ``N``
images. A change sees the ``hard`` ones first, on which the dense model's loss is largest, because there most answers
change; then ever more of the others, drawn at random, each of which stands for (N − hard) / (n − hard). Two errors
follow: that of the N images as a sample of all images, which stays when all are seen (``error``), and that of the n as
a sample of the N (``doubt``), 0 then. Knows no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .statistics import iou_parts, miou_interval, miou_of_parts, percentiles, resampled_miou, wilson_interval

__all__ = ["Rows", "Seen", "dense_numbers", "difference", "images_wanted", "needs_more", "no_difference", "point"]

Rows = Mapping[str, np.ndarray[Any, Any]]
"""Per image, as ``Tally.rows``: ``losses``, and ``correct`` or ``image_confusions``."""

Array = np.ndarray[Any, Any]

_Z95 = 1.959964
_RELATIVE = 0.1
"""A cell that costs much need not be known better than to this share of what it costs."""

_LOSS_PER_POINT = 2.0
"""How many nats of loss count as much as a whole score: a tolerance of 0.01 is 0.02 nats."""

_SMALL = 0.5
"""A doubt of half the error that stays anyway makes the interval 12 % wider: more images are not worth it."""

_DRAWS = 200


@dataclass
class Seen:
    """What a network (dense, or with one change) gave for the images so far, in their order."""

    losses: list[Array] = field(default_factory=list)
    scored: list[Array] = field(default_factory=list)
    broken: bool = False
    n: int = 0

    def add(self, rows: Rows, *, broken: bool) -> None:
        """The rows of one more batch; ``broken``: some outputs were NaN or infinite."""
        self.losses.append(rows["losses"].astype(np.float32))
        correct = rows.get("correct")
        self.scored.append(iou_parts(rows["image_confusions"]).astype(np.float32) if correct is None else correct)
        self.broken |= broken
        self.n += len(rows["losses"])

    def loss(self, n: int | None = None) -> Array:
        """float64 ``[n]``: losses of the first n images."""
        return np.concatenate(self.losses)[:n].astype(np.float64)

    def score(self, n: int | None = None) -> Array:
        """bool ``[n]``: right or wrong; or ``[n, 2, K]``: intersections and unions."""
        return np.concatenate(self.scored)[:n]

    def reordered(self, order: Array) -> "Seen":
        """The same images in another order."""
        return Seen([np.concatenate(self.losses)[order]], [np.concatenate(self.scored)[order]], self.broken, self.n)


def dense_numbers(seen: Seen) -> dict[str, Any]:
    """``loss``, ``score``, ``low``, ``high`` and ``n`` of the dense model, as ``evaluate`` gives them."""
    losses, scored = seen.loss(), seen.score()
    known = losses[~np.isnan(losses)]
    loss = None if seen.broken or not len(known) else float(known.mean())
    if scored.ndim == 1:
        score, (low, high) = float(scored.mean()), wilson_interval(int(scored.sum()), seen.n)
    else:
        score, (low, high) = miou_of_parts(scored), miou_interval(scored)
    return {"loss": loss, "score": score, "low": low, "high": high, "n": seen.n}


def difference(changed: Seen, dense: Seen, *, hard: int = 0) -> dict[str, Any]:
    """What the change costs, from the images that it has seen; the dense model has seen these first, and the rest.

    ``hard``: how many of the images come first for their loss. Fewer than two others is only right when all are seen.

    Returns:
        ``n``; ``dloss`` with ``dloss_se`` and ``dloss_doubt`` (None when a loss is not finite); ``dscore`` likewise;
        for mIoU also ``below`` and ``above``, how far the interval of the score reaches. ``…_se`` holds both errors,
        ``…_doubt`` only that of not having seen all images.
    """
    n, total = changed.n, dense.n
    weights = np.ones(n)
    weights[hard:] = (total - hard) / max(1, n - hard)
    gained = changed.loss() - dense.loss(n)
    counted = ~(np.isnan(changed.loss()) & np.isnan(dense.loss(n)))  # the others have no counted pixel
    finite = not changed.broken and bool(counted.any()) and bool(np.isfinite(gained[counted]).all())
    found: dict[str, Any] = {"n": n, "dloss": None, "dloss_se": None, "dloss_doubt": None}
    if finite:
        gained, kept = gained[counted], weights[counted]
        mean = float((kept * gained).sum() / kept.sum())
        spread = float((kept * (gained - mean) ** 2).sum() / max(1.0, kept.sum() - 1.0))
        others = gained[int(counted[:hard].sum()) :]
        doubt = _doubt(float(others.var(ddof=1)) if len(others) > 1 else 0.0, len(others), n, hard=hard, total=total)
        found |= {"dloss": mean, "dloss_se": math.hypot(math.sqrt(spread / total), doubt), "dloss_doubt": doubt}
    first, second = dense.score(n), changed.score()
    if second.ndim == 1:
        return found | _accuracy(second.astype(int) - first, weights, hard=hard, total=total)
    return found | _miou(first, second, dense, weights, hard=hard)


def no_difference(dense: Mapping[str, Any]) -> dict[str, Any]:
    """As ``difference``, for a change that changes nothing. ``dense``: what ``dense_numbers`` gave."""
    nothing = None if dense["loss"] is None else 0.0
    loss = dict.fromkeys(("dloss", "dloss_se", "dloss_doubt"), nothing)
    score = dict.fromkeys(("dscore", "dscore_se", "dscore_doubt"), 0.0)
    reach = {"below": dense["score"] - dense["low"], "above": dense["high"] - dense["score"]}
    return {"n": dense["n"], **loss, **score, **reach}


def _doubt(variance: float, count: float, n: int, *, hard: int, total: int) -> float:
    """Standard error of a mean over all images, from ``count`` of those that are not hard; 0 when all were seen."""
    if n >= total:
        return 0.0
    return (total - hard) / total * math.sqrt(variance / max(1.0, count) * (1.0 - (n - hard) / (total - hard)))


def _accuracy(change: Array, weights: Array, *, hard: int, total: int) -> dict[str, Any]:
    """``change``: +1 where only the changed network is right, −1 where only the dense one is.

    The errors are those of Agresti and Min (2005, Statistics in Medicine 24:729): half a count is added to both kinds
    of changed answers and one to the others, so that no change on few images is not taken for certainty.
    """
    mean = float((weights * change).sum() / total)
    others, seen = change[hard:], len(change) - hard
    variance = ((others != 0).sum() + 1.0) / (seen + 2.0) - (others.sum() / (seen + 2.0)) ** 2
    doubt = _doubt(float(variance), seen + 2.0, len(change), hard=hard, total=total)
    changed = float((weights * (change != 0)).sum())
    error = math.sqrt(changed + 1.0 - (mean * total) ** 2 / (total + 2.0)) / (total + 2.0)
    return {"dscore": mean, "dscore_se": math.hypot(error, doubt), "dscore_doubt": doubt}


def _miou(first: Array, second: Array, dense: Seen, weights: Array, *, hard: int) -> dict[str, Any]:
    """Differences in mIoU, by the bootstrap over images."""
    n, total = len(second), dense.n
    parts = (first.astype(np.float64), second.astype(np.float64))
    draw = np.random.default_rng(0)
    own, dense_score = (float(resampled_miou(part, weights[None])[0]) for part in (parts[1], parts[0]))
    counts = draw.multinomial(total, weights / weights.sum(), size=_DRAWS)
    resampled = [resampled_miou(part, counts.astype(np.float64)) for part in parts]
    error, doubt = float(np.nanstd(resampled[1] - resampled[0], ddof=1)), 0.0
    if n < total:
        drawn = np.ones((_DRAWS, n))
        drawn[:, hard:] = draw.multinomial(n - hard, np.full(n - hard, 1.0 / (n - hard)), size=_DRAWS)
        again = [resampled_miou(part, drawn * weights) for part in parts]
        doubt = float(np.nanstd(again[1] - again[0], ddof=1)) * math.sqrt(1.0 - (n - hard) / (total - hard))
        low, high = percentiles(resampled[1], 0.95)
    else:
        low, high = miou_interval(parts[1])
    return {
        "dscore": own - dense_score,
        "dscore_se": math.hypot(error, doubt),
        "dscore_doubt": doubt,
        "below": math.hypot(own - low, _Z95 * doubt),
        "above": math.hypot(high - own, _Z95 * doubt),
    }


def needs_more(found: Mapping[str, Any], tolerance: float) -> bool:
    """Whether more images would tell what matters.

    Not when the images that were left out leave the score uncertain by at most ``tolerance`` (or a tenth of what the
    change costs), and the loss by at most twice as many nats, or by little beside the error that stays anyway.
    """
    if _Z95 * found["dscore_doubt"] > max(tolerance, _RELATIVE * abs(found["dscore"])):
        return True
    if found["dloss"] is None:
        return False
    within = _Z95 * found["dloss_doubt"] <= max(_LOSS_PER_POINT * tolerance, _RELATIVE * abs(found["dloss"]))
    error = math.sqrt(max(0.0, found["dloss_se"] ** 2 - found["dloss_doubt"] ** 2))
    return not within and bool(found["dloss_doubt"] > _SMALL * error)


def images_wanted(found: Mapping[str, Any], tolerance: float) -> float:
    """About how many images would settle a cell: a doubt falls with the root of their number."""
    score = _Z95 * found["dscore_doubt"] / max(tolerance, _RELATIVE * abs(found["dscore"]))
    if found["dloss"] is None:
        return float(found["n"] * score**2)
    within = max(_LOSS_PER_POINT * tolerance, _RELATIVE * abs(found["dloss"])) / _Z95
    error = math.sqrt(max(0.0, found["dloss_se"] ** 2 - found["dloss_doubt"] ** 2))
    loss = found["dloss_doubt"] / max(within, _SMALL * error)
    return float(found["n"] * max(score, loss) ** 2)


def point(found: Mapping[str, Any], dense: Mapping[str, Any]) -> dict[str, Any]:
    """A cell as results hold it: ``loss``, ``score``, ``low``, ``high``, ``n`` and the differences.

    Args:
        found: what ``difference`` gave. When all images were seen, the interval is the one that ``evaluate`` gives;
            else it is wider by what is in doubt.
        dense: ``dense_numbers`` over all images.
    """
    score = min(1.0, max(0.0, dense["score"] + found["dscore"]))
    loss = None if found["dloss"] is None or dense["loss"] is None else dense["loss"] + found["dloss"]
    if "below" in found:
        low, high = score - found["below"], score + found["above"]
    else:
        low, high = wilson_interval(round(score * dense["n"]), dense["n"])
        doubt = _Z95 * found["dscore_doubt"]
        low, high = score - math.hypot(score - low, doubt), score + math.hypot(high - score, doubt)
    return {
        "loss": loss,
        "score": score,
        "low": max(0.0, low),
        "high": min(1.0, high),
        "n": found["n"],
        "dloss": found["dloss"],
        "dloss_se": found["dloss_se"],
        "dscore": found["dscore"],
        "dscore_se": found["dscore_se"],
    }
