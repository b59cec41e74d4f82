"""`evenkeel torture autobahn`: the Autobahn test suite of RFC 6455 against the framing that the hub uses.

The suite is a tool of its own that needs Python 2.7 (`virtualenv -p python2.7 v27`, `v27/bin/pip install
autobahntestsuite`; 25.10.1 was used); nothing of Evenkeel depends on it. Left out are 9.* (how fast large messages
are: ours end at 64 KiB) and 12.*, 13.* (compression, which is never agreed).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ops.torture.echo import echo_server
from server.errors import Misconfigured

AGENT: Final = "evenkeel"
EXCLUDED: Final = ("9.*", "12.*", "13.*")
# Behaviours by which a case is passed; NON-STRICT is right, only told later than it could have been.
PASSED: Final = frozenset({"OK", "NON-STRICT", "INFORMATIONAL"})
_MOST_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Run:
    """What the suite found.

    Attributes:
        behaviours: case ("7.1.5") -> (how it behaved, how it closed), in the suite's words.
    """

    behaviours: Mapping[str, tuple[str, str]]

    @property
    def failed(self) -> list[str]:
        """The cases that are not passed, in the order of the suite."""
        wrong = [case for case, how in self.behaviours.items() if not PASSED.issuperset(how)]
        return sorted(wrong, key=lambda case: [int(part) for part in case.split(".")])

    def facts(self) -> dict[str, Any]:
        """The run as plain values."""
        return {
            "ok": bool(self.behaviours) and not self.failed,
            "cases": len(self.behaviours),
            "behaviours": dict(Counter(how for how, _ in self.behaviours.values())),
            "closes": dict(Counter(how for _, how in self.behaviours.values())),
            "failed": self.failed,
        }


def read_report(index: str) -> Run:
    """The suite's `index.json` about our agent."""
    cases = json.loads(index).get(AGENT, {})
    return Run({case: (found["behavior"], found["behaviorClose"]) for case, found in cases.items()})


def find_suite() -> Path | None:
    """The suite's program `wstest`, by EVENKEEL_WSTEST or on the path; None where it is not installed."""
    named = os.environ.get("EVENKEEL_WSTEST") or shutil.which("wstest")
    return Path(named).absolute() if named else None


async def run_suite(wstest: Path, progress: Callable[[str], None] = lambda line: None) -> Run:
    """Run the suite's fuzzing client `wstest` against an echo server on loopback.

    Raises:
        Misconfigured: the suite can not be run, or leaves no report.
    """
    with tempfile.TemporaryDirectory(prefix="evenkeel-autobahn-") as made:
        async with echo_server() as port:
            spec = Path(made) / "spec.json"
            spec.write_text(
                json.dumps(
                    {
                        "outdir": f"{made}/report",
                        "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{port}"}],
                        "cases": ["*"],
                        "exclude-cases": EXCLUDED,
                        "exclude-agent-cases": {},
                    }
                )
            )
            progress(f"the suite runs against port {port}")
            said = await _wstest(wstest, spec)
        report = Path(made) / "report" / "index.json"
        if not report.exists():
            raise Misconfigured(f"The suite left no report; its last words: {said[-300:]}")
        return read_report(report.read_text())


async def _wstest(wstest: Path, spec: Path) -> str:
    """Run the suite to its end; returns what it said."""
    try:
        process = await asyncio.create_subprocess_exec(
            wstest,
            *("-m", "fuzzingclient", "-s", spec),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=spec.parent,
        )
    except OSError as error:
        raise Misconfigured(f"{wstest} can not be run: {error.strerror}.") from None
    try:
        async with asyncio.timeout(_MOST_S):
            said, _ = await process.communicate()
    except TimeoutError:
        raise Misconfigured(f"The suite did not end within {_MOST_S:.0f} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode(errors="replace").strip()
