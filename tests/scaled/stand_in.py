"""A supervisor over a small program that keeps the contract of a worker: beats, a port, SIGTERM. Some can not start."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import threading

from server.supervisor.__main__ import main

DYING = "EVENKEEL_TEST_DYING"
# The only place where the supervisor looks for a folder for temporary files.
TEMPORARY = "EVENKEEL_TEST_TEMPORARY"


def work() -> int:
    """Beat and answer each connection with the worker's number, until told to stop."""
    parser = argparse.ArgumentParser()
    for name in ("--beat", "--listener", "--window"):
        parser.add_argument(name, type=int)
    parser.add_argument("--name")
    parser.add_argument("--numbers")
    given = parser.parse_args()
    number = given.name.rpartition("-")[2]
    if number == os.environ.get(DYING):
        return 3
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    listener = socket.socket(fileno=given.listener)
    listener.listen()

    def answer() -> None:
        while True:
            there, _ = listener.accept()
            there.sendall(number.encode())
            there.close()

    threading.Thread(target=answer, daemon=True).start()
    while not stop.wait(0.2):
        os.write(given.beat, b".")
    return 0


if __name__ == "__main__":
    tempfile.tempdir = os.environ.get(TEMPORARY)
    sys.exit(work() if "--name" in " ".join(sys.argv) else main("tests.scaled.stand_in"))
