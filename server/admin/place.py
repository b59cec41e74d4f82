"""Where the admin socket of a service lies, and whose it must be. Known to the service and to its operator's commands.

For SQLite it lies beside the database, for PostgreSQL beside the key file, named after the database: so a command for
one database never reaches the service of another. `EVENKEEL_ADMIN_SOCKET` puts it elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from server.settings import Settings
from server.store.engine import sqlite_path, sync_url

# The kernel takes 107 bytes of a path; audit rows keep 26 characters of who acted.
_LONGEST: Final = 100
_LONGEST_ACTOR: Final = 26
_CREDENTIALS: Final = struct.Struct("3i")


def socket_place(settings: Settings) -> Path:
    """The path of the admin socket. Raises Misconfigured for a database that can not be served."""
    if settings.admin_socket is not None:
        return settings.admin_socket
    url = sync_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        path = sqlite_path(url)
        return path.with_name(f"{path.name}.admin")
    where = f"{url.host}|{url.port}|{url.database}|{url.query.get('host')}|{url.query.get('port')}"
    return settings.key_file.parent / f"evenkeel-{hashlib.sha256(where.encode()).hexdigest()[:12]}.admin"


@contextlib.contextmanager
def short_name(place: Path) -> Iterator[str]:
    """A name of `place` that fits into a socket's address, however deep it lies; good as long as the block lasts."""
    if len(os.fsencode(place)) <= _LONGEST:
        yield str(place)
        return
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{place.name}"
    finally:
        os.close(folder)


def peer_uid(end: socket.socket) -> int:
    """The user id of whoever has the other end, as the kernel saw it when they connected."""
    packed = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(packed)[1])


def operator_name(uid: int) -> str:
    """How audit rows name the operator who has this user id."""
    try:
        name = f"operator:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        name = ""
    return name if 0 < len(name) <= _LONGEST_ACTOR else f"operator:{uid}"
