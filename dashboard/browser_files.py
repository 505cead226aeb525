"""Files that the server hands to browsers beside its pages: the program of our charts, and Plotly's own.

An address changes with what lies there, so a browser asks for each of them once.
"""

import hashlib
from importlib.metadata import distribution
from pathlib import Path

__all__ = ["CHART_URL", "FILES", "PLOTLY_URL"]

_CHART = Path(__file__).parent / "assets" / "chart.js"
_PLOTLY = distribution("plotly")

CHART_URL = f"chart-{hashlib.sha256(_CHART.read_bytes()).hexdigest()[:10]}.js"
PLOTLY_URL = f"plotly-{_PLOTLY.version}.min.js"

FILES = {CHART_URL: _CHART, PLOTLY_URL: Path(str(_PLOTLY.locate_file("plotly/package_data/plotly.min.js")))}
"""Address, relative to the pages → file. Plotly's Python package brings its program along."""
