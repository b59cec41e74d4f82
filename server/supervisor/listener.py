"""The listening sockets that outlive every worker: one for each, held by the supervisor.

Several workers listen on one port by SO_REUSEPORT, and the kernel deals connections out between their sockets. One
socket for all of them would be emptied by whoever wakes first, who then keeps these connections for hours: sockets live
as long as people talk. A worker's socket stays open while the worker is replaced, so that nobody is refused meanwhile.
"""

from __future__ import annotations

import socket


def bind(host: str, port: int, *, shared: bool = False, listening: bool = True) -> socket.socket:
    """A listening socket that a restarted worker can take over. Raises OSError if the port is taken.

    Args:
        shared: other sockets of this user that say so too may listen on the same port.
        listening: whether connections wait here from now on, or only once a worker listens.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        if listening:
            listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def bind_all(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` listening sockets on one port (0: a free one). Raises OSError if anybody else listens there."""
    first = bind(host, port)
    if count == 1:
        return [first]
    # Another service that shares its port would share it with us too: only a socket that does not share sees it.
    port = first.getsockname()[1]
    first.close()
    return [bind(host, port, shared=True) for _ in range(count)]
