"""How long each node of a network takes."""

import time

from torch import Tensor

from .fast_network import FastNetwork, Values

__all__ = ["node_times"]


def node_times(network: FastNetwork, x_NCHW: Tensor) -> list[float]:
    """Seconds of each node for one batch, after a first run that nobody times."""
    times: list[float] = []
    for timed in (False, True):
        values: Values = {}
        x = network.prepared(x_NCHW)
        for place in range(len(network.nodes)):
            start = time.perf_counter()
            network.advance(values, place, place + 1, x)
            if timed:
                times.append(time.perf_counter() - start)
    return times
