"""`python -m watchwords screen < in.jsonl`: what the lists and the model make of each text, one JSON object a line.

In: objects with "text" (and "id", which is passed on; without it the line's number). Out: "id", "level", "score",
"cats" and "findings", which hold offsets and never the text; and "unscreened": true where strange words were left
that a person has to read.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from watchwords.lexicon import LexiconError
from watchwords.model import ModelError
from watchwords.screening import Found, Screener

FINE, UNUSABLE, BAD_LINE = 0, 1, 2


def screen(lines: Iterable[bytes], out: TextIO, errors: TextIO, screener: Screener) -> int:
    """Screen every line; FINE, or BAD_LINE if a line is no object with a text (named by its number in `errors`)."""
    status = FINE
    write, verdict = out.write, screener.screen
    encode = json.JSONEncoder(separators=(",", ":")).encode
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8"))
            text = record["text"]
            if not isinstance(text, str):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            errors.write(f'line {number}: not a JSON object with a "text"; skipped\n')
            status = BAD_LINE
            continue
        said = verdict(text)
        found = [_facts(one) for one in said.findings] if said.findings else []
        answer = {"id": record.get("id", number), "level": said.level, "score": said.score}
        answer |= {"cats": said.cats, "findings": found}
        if said.is_cut_short:
            answer["unscreened"] = True
        write(encode(answer) + "\n")
    return status


def _facts(found: Found) -> dict[str, Any]:
    facts = {
        "entry": found.entry_id,
        "category": found.category,
        "level": found.level,
        "start": found.start,
        "end": found.end,
        "view": found.view,
        "reason": found.reason,
        "adjustments": found.adjustments,
    }
    if found.because:
        facts["because"] = [
            {"feature": one.feature, "weight": one.weight, "start": one.start, "end": one.end} for one in found.because
        ]
    return facts


def main() -> int:
    """The exit status of the command: FINE, UNUSABLE lists or model, BAD_LINE or wrong use."""
    if sys.argv[1:] != ["screen"]:
        sys.stderr.write("use: python -m watchwords screen < in.jsonl\n")
        return BAD_LINE
    try:
        screener = Screener.load()
    except (LexiconError, ModelError) as error:
        sys.stderr.write(f"{error}\n")
        return UNUSABLE
    return screen(sys.stdin.buffer, sys.stdout, sys.stderr, screener)


if __name__ == "__main__":
    raise SystemExit(main())
