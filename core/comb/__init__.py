"""Comb: exact structured pruning of any traced model."""
