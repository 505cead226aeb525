"""The command line: the same work as the pages, for scripts and servers. ``--help`` imports no torch."""
