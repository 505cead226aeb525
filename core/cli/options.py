"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Checkpoint",
    "Classes",
    "Data",
    "DataRoot",
    "Device",
    "InputShape",
    "Json",
    "Limit",
    "Models",
    "SeedOption",
    "Weights",
    "WorkspaceFolder",
]

WorkspaceFolder = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        help="Folder with all sessions and results, the same as the dashboard's. Default: ESPALIER_WORKSPACE, else "
        "“espalier” in the user's data folder.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Weights to load: .pt, .pth, .th or .safetensors.", show_default=False),
]
Weights = Annotated[
    str | None,
    typer.Option("--weights", help="random, published or checkpoint. Default: the usual ones.", show_default=False),
]
Classes = Annotated[
    int | None,
    typer.Option("--classes", min=1, help="Classes of the head. Default: what the weights say.", show_default=False),
]
InputShape = Annotated[
    str | None, typer.Option("--input", help="Input as channels,height,width, e.g. 3,224,224.", show_default=False)
]
Data = Annotated[
    str | None, typer.Option("--data", help="Data source: digits, scenes, cifar10, image_folder, …", show_default=False)
]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder that holds the data, or one above it.", show_default=False),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Images per split at most.", show_default=False)]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of random weights and of the split.")]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Where to compute: auto, cpu, cuda, cuda:1. Default: ESPALIER_DEVICE, else auto.",
        show_default=False,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--models", metavar="FILE.py[:FUNCTION]", help="Register your own models; the file is executed."),
]
