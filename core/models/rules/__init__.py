"""From the many forms of torch's operations to the one canonical form of the vocabulary.

A rule is filed under the base name that an operation has in any of its forms (``torch.add``, ``Tensor.add``,
``aten.add.Tensor``, ``x + y`` are all “add”). It is called as ``rule(tracer, result, *args, **kwargs)`` with the
original arguments and the result's shape on the meta device, and emits the canonical node.
"""

from . import constants, elementwise, moving, products, reductions, sampling
from .registry import RULES

__all__ = ["RULES"]

assert all((constants, elementwise, moving, products, reductions, sampling))  # imported so that their rules are filed
