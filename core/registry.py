"""One small registry for every family of plug-ins: criteria, allocations, schedules, methods, sources, runtimes.

Adding a member is adding one file with one decorated object; ``discover`` imports the files of a package so that
their decorators run. Members must have a docstring: its first line is what the person reads in the menu.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from .errors import RegistryError

__all__ = ["Registry", "discover"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Named members of one family, in order of registration.

    Raises:
        RegistryError: on a duplicate name, a member without docstring, or an unknown name (it lists the known ones).
    """

    def __init__(self, family: str) -> None:
        self.family = family
        self._members: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files the decorated object under ``name``."""

        def add(member: T) -> T:
            if name in self._members:
                raise RegistryError(f"There are two members named “{name}” in {self.family}; rename one of them.")
            if not inspect.getdoc(member):
                raise RegistryError(f"“{name}” in {self.family} needs a docstring: its first line is shown to people.")
            self._members[name] = member
            return member

        return add

    def __getitem__(self, name: str) -> T:
        try:
            return self._members[name]
        except KeyError:
            known = ", ".join(self._members) or "none"
            raise RegistryError(f"Unknown {self.family} “{name}”; known: {known}.") from None

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def items(self) -> Iterator[tuple[str, T]]:
        """Pairs of name and member, in order of registration."""
        return iter(tuple(self._members.items()))

    def summary(self, name: str) -> str:
        """First line of the member's docstring: the sentence that menus show."""
        return (inspect.getdoc(self[name]) or "").splitlines()[0]


def discover(package: str, path: Sequence[str]) -> None:
    """Import every module of a package, so that its members register. Call as ``discover(__name__, __path__)``."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
