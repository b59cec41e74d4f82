"""The program `evenkeel`. With only the base install it says what to install instead of failing.

Everything that it can do is in `ops.commands`; here is only what has to work without the server's packages.
"""

from __future__ import annotations

import sys
from typing import Final

# Modules of our own are never missing: an installation without one of those is broken, and is shown as it is.
_OURS: Final = frozenset({"ops", "server", "moderation", "watchwords", "clients"})


def main() -> None:
    """Run `evenkeel` with the arguments of this process."""
    try:
        from ops.commands import app
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] in _OURS:
            raise
        print(
            f"This command needs the server's packages ({missing.name} is not installed). "
            "Run `pip install 'evenkeel[server]'`.",
            file=sys.stderr,
        )
        sys.exit(2)
    app()


if __name__ == "__main__":
    main()
