"""Tables: their heads, and what a height says of the rows below it."""

import pandas as pd
import pytest

from dashboard.components.tables import _ROW_PX, _labels, height_px


@pytest.mark.parametrize("rows", range(1, 40))
def test_a_table_shows_every_row_or_cuts_one_in_half(rows: int) -> None:
    seen = (height_px(rows, 14) - 3) / _ROW_PX - 1  # without its head
    assert abs(seen - rows) < 0.02 or (seen < rows and abs(seen % 1 - 0.5) < 0.02)


def test_heads_begin_with_a_capital_and_units_keep_their_letters() -> None:
    frame = pd.DataFrame(columns=["first run, ms", "MACs", "ms (ONNX Runtime)"])
    assert _labels(frame) == {"first run, ms": "First run, ms", "MACs": "MACs"}
