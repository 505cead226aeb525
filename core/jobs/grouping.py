"""The groups of a model beside the model: made when it is opened, and kept in the same folder."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PlanError

if TYPE_CHECKING:
    from ..comb.sheet import GroupSheet
    from ..models.traced import TracedModel

__all__ = ["find_groups", "write_groups"]

_LOG = logging.getLogger(__name__)


def find_groups(model: "TracedModel") -> "GroupSheet":
    """The model's groups, with the scores of every criterion that needs no data and no seed.

    Weights that are not finite cannot be ranked: the sheet then has no scores.
    """
    from ..comb.combing import comb
    from ..comb.summary import summarise
    from ..pruning.criteria import CalibrationContext
    from ..pruning.groups import GROUP_CRITERIA
    from ..pruning.groups.base import score_groups

    found = comb(model)
    names = [name for name, criterion in GROUP_CRITERIA.items() if not criterion.needs_data and name != "random"]
    try:
        scores = {name: score_groups(name, found, CalibrationContext()) for name in names}
    except PlanError as error:
        _LOG.info("The groups have no scores: %s", error)
        scores = {}
    return summarise(found, scores)


def write_groups(model: "TracedModel", folder: Path) -> None:
    """Save the groups into the folder of a saved model. A model whose groups cannot be found is opened without them."""
    from ..comb.sheet import FILE_NAME

    try:
        sheet = find_groups(model)
    except Exception:  # the groups are one view of a model; every other one works without them
        _LOG.exception("The groups of this model could not be found.")
    else:
        sheet.save(folder / FILE_NAME)
