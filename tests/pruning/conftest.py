"""Property tests judge results, not how busy the machine is: no deadline per example."""

from hypothesis import settings

settings.register_profile("espalier", deadline=None)
settings.load_profile("espalier")
