"""Ports on which nodes of the tests listen."""

import itertools
import socket

PORTS = itertools.cycle(range(10_000, 15_000))


def free_port():
    """Below those that the system gives to whoever connects: nobody takes it before the node does."""
    while True:
        port = next(PORTS)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
