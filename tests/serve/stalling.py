"""A supervisor whose workers have a check with a bug in it: one text keeps it busy for ever."""

from __future__ import annotations

import sys

from server.supervisor.__main__ import main

if __name__ == "__main__":
    sys.exit(main("tests.serve.stalling_worker"))
