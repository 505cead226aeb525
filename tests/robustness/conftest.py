"""Pages for the tests of this folder, as those of the pages have them."""

from tests.dashboard.conftest import nothing_unseen, open_page, served

__all__ = ["nothing_unseen", "open_page", "served"]
