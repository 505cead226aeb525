"""Taking sessions to other people: read-only links, bundles for other machines, forks and model cards.

Everything starts from a ``Snapshot``: the session as it was at one moment, without a path of this machine in it.
"""
