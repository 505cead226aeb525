"""``python -m core`` is ``espalier``."""

import sys

from .cli.main import main

sys.exit(main())
