"""The web server: Streamlit's, and beside its pages the files that our charts need."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route
from streamlit.starlette import App

from dashboard.browser_files import FILES

__all__ = ["serve"]

_SCRIPT = Path(__file__).parent / "entry" / "main.py"
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


def serve(options: Mapping[str, Any]) -> None:
    """Serve until the process is told to stop. ``options``: Streamlit's, by their full name."""
    App(_SCRIPT, routes=[Route(f"/{url}", _file) for url in FILES]).run(config=options)


def _file(request: Request) -> FileResponse:
    path = FILES[request.url.path.rpartition("/")[-1]]
    return FileResponse(path, media_type="text/javascript", headers=_FOR_EVER)
