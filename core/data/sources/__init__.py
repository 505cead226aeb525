"""Data sources: one file each. Importing them imports no torch, so that menus can list them at once."""

from ...registry import Registry, discover
from .base import DataSource

__all__ = ["DATA_SOURCES", "DataSource"]

DATA_SOURCES: Registry[DataSource] = Registry("data source")

discover(__name__, __path__)
