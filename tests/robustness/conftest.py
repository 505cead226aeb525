"""Pages for the tests of this folder, as those of the pages have them."""

from tests.dashboard.conftest import open_page, served

__all__ = ["open_page", "served"]
