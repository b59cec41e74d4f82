"""`python -m watchwords screen < in.jsonl`: what the lists find in each text, one JSON object a line.

In: objects with "text" (and "id", which is passed on). Out: "id" and "matches", which hold offsets and never the text.
"""

import json
import sys
from dataclasses import asdict
from typing import TextIO

from watchwords.lexicon import LexiconError
from watchwords.matcher import Matcher


def screen(lines: TextIO, out: TextIO, matcher: Matcher) -> int:
    """Screen every line; 0, or 2 if a line is no object with a text (named by its number on the way)."""
    status = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            text = record["text"]
            if not isinstance(text, str):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            sys.stderr.write(f'line {number}: not an object with a "text"; skipped\n')
            status = 2
            continue
        found = [asdict(match) | {"reason": matcher.reason(match.entry_id)} for match in matcher.find(text)]
        out.write(
            json.dumps({"id": record.get("id", number), "list_version": matcher.version, "matches": found}) + "\n"
        )
    return status


def main() -> int:
    """The exit status of the command: 0 fine, 1 the lists can not be used, 2 wrong use or a bad line."""
    if sys.argv[1:] != ["screen"]:
        sys.stderr.write("use: python -m watchwords screen < in.jsonl\n")
        return 2
    try:
        matcher = Matcher.load()
    except LexiconError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return screen(sys.stdin, sys.stdout, matcher)


if __name__ == "__main__":
    raise SystemExit(main())
