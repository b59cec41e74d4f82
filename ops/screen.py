"""`evenkeel watchwords ...`: texts through the filter as it is configured, its figures, and a new model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moderation.canaries import load_canaries, missed
from moderation.types import Role, RoomKind, TextKind
from ops.demo.texts import load_stories, load_talk
from server.errors import BadRequest
from server.main import build_screening, load_lists, load_model, load_second
from server.settings import load_settings
from watchwords.__main__ import screen
from watchwords.labelled import TEST, load_corpus, of_part
from watchwords.lexicon import CATEGORIES
from watchwords.model import MODEL_FILE, Model
from watchwords.quality import Quality, judge, quality
from watchwords.screening import Screened, Screener

if TYPE_CHECKING:
    from watchwords.second import SecondStage

Labelled = tuple[str, int, tuple[str, ...]]


def screen_lines() -> int:
    """Standard input, JSON lines, through the lists and the model; the exit status."""
    return screen(sys.stdin.buffer, sys.stdout, sys.stderr, Screener(load_lists(), load_model()))


def screen_text(text: str, room: str, role: str) -> dict[str, Any]:
    """The verdict on `text` as plain values. Raises BadRequest for a room or role that does not exist."""
    try:
        where, who = RoomKind(room), Role(role)
    except ValueError:
        raise BadRequest("Choose a room kind and a role that exist; --help lists them.") from None
    verdict = build_screening(load_settings()).screen(text, TextKind.MESSAGE, where, who)
    return {
        "level": int(verdict.level),
        "disposition": verdict.disposition.value,
        "complete": verdict.complete,
        "lists": verdict.list_version,
        "findings": [
            {
                "check": found.check,
                "category": found.category.value if found.category else None,
                "level": int(found.level),
                "entry": found.entry_id,
                "start": found.start,
                "end": found.end,
                "reason": found.reason,
            }
            for found in verdict.findings
        ],
    }


def evaluate(file: Path | None, *, corpus: bool, lists_only: bool, second: bool = False) -> tuple[Quality, str]:
    """The figures of the filter on a file of labelled messages or on the corpus's test part, and its version.

    Raises:
        BadRequest: neither or both are given, or a line of the file has no text or label; its number is said.
        Misconfigured: `second`, and what the second stage needs is not there.
    """
    if (file is None) is not corpus:
        raise BadRequest("Give a file of labelled messages, or --corpus, and not both.")
    screener = Screener(load_lists(), None if lists_only else load_model())
    messages = _of_corpus() if file is None else _of_file(file)
    if not second:
        return quality(judge(messages, screener.screen)), screener.version
    stage = load_second()
    return quality(judge(messages, both_stages(screener, stage))), f"{screener.version}+{stage.version}"


def both_stages(screener: Screener, stage: SecondStage) -> Callable[[str], Screened]:
    """What is said of a text once the second stage has read it too."""
    from watchwords.second import together

    def screen(text: str) -> Screened:
        first = screener.screen(text)
        return together(first, stage.raises(text, first.level))

    return screen


def make_model(reviewed: Path | None, out: Path | None) -> tuple[dict[str, Any], Path]:
    """A new model, written to `out` (None: where the program reads it), measured on the test part.

    Raises:
        BadRequest: the extra `train` is not installed, the reviewed messages can not be used, or the new model would
            lose a canary: then nothing is written.
    """
    try:
        from watchwords import training
    except ModuleNotFoundError as missing:
        raise BadRequest(
            f"Training needs more packages ({missing.name} is not installed): pip install 'evenkeel[server,train]'."
        ) from None
    try:
        own = [] if reviewed is None else training.read_reviewed(reviewed)
    except (OSError, training.TrainingError) as error:
        raise BadRequest(str(error)) from None
    content = training.train(load_corpus(), load_lists(), _talk(), own, tell=lambda line: print(line, file=sys.stderr))
    trained = Screener(load_lists(), Model(content))
    figures = quality(judge(_of_corpus(), trained.screen))
    lost = missed(load_canaries(), lambda text: trained.screen(text).findings)
    if lost:
        raise BadRequest(
            f"The new model no longer finds what must always be found ({', '.join(canary.where for canary in lost)}), "
            "and was not written; mend the entries or the messages that taught it."
        )
    content["measured"]["test_part"] = {
        "sensitivity": figures.sensitivity.value,
        "urgent_flagged": figures.urgent_flagged.value,
        "ppv": figures.ppv.value,
        "auc": None if figures.auc is None else round(figures.auc, 4),
    }
    path = out or MODEL_FILE
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return content, path


def make_second(reviewed: Path | None, out: Path | None) -> tuple[dict[str, Any], Path]:
    """A new head for the second stage, written to `out` (None: where the program reads it), measured on the test part.

    Raises:
        BadRequest: the extras `train` and `second` are not installed, or the reviewed messages can not be used.
    """
    try:
        from watchwords import training, training_second
        from watchwords.embedding import Embedder, EmbeddingError
        from watchwords.second import SECOND_FILE, Head, SecondStage
    except ModuleNotFoundError as missing:
        raise BadRequest(
            f"Training needs more packages ({missing.name} is not installed): "
            "pip install 'evenkeel[server,train,second]'."
        ) from None
    try:
        own = [] if reviewed is None else training.read_reviewed(reviewed)
        embedder = Embedder.load()
    except (OSError, training.TrainingError, EmbeddingError) as error:
        raise BadRequest(str(error)) from None
    content = training_second.train_second(
        load_corpus(), load_lists(), embedder, _talk(), own, tell=lambda line: print(line, file=sys.stderr)
    )
    screener = Screener(load_lists(), load_model())
    stage = SecondStage(embedder, Head(content))
    for name, reading in (("first", screener.screen), ("both", both_stages(screener, stage))):
        figures = quality(judge(_of_corpus(), reading))
        content["measured"][f"test_part_{name}"] = {
            "sensitivity": figures.sensitivity.value,
            "urgent_flagged": figures.urgent_flagged.value,
            "ppv": figures.ppv.value,
            "alarms": figures.alarms.value,
        }
    path = out or SECOND_FILE
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return content, path


def _talk() -> list[str]:
    """What the demonstration's people say that is nobody's concern."""
    stories = load_stories()
    talk = [line.text for lines in load_talk().values() for conversation in lines for line in conversation]
    talk += [text for story in stories.flagged for text in story.comfort]
    talk += [text for story in stories.past for text in (story.reply, story.answer) if text]
    talk += [stories.replies.of(level) for level in (1, 2, 3)]
    return [*talk, *stories.answers.lines, *stories.greetings.lines]


def _of_corpus() -> list[Labelled]:
    return [(message.text, message.level, message.cats) for message in of_part(load_corpus(), TEST)]


def _of_file(file: Path) -> list[Labelled]:
    out: list[Labelled] = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        raise BadRequest(f"{file.name} can not be read as UTF-8 text.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
            text, level, cats = given["text"], given["level"], tuple(given.get("cats", ()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadRequest(f'{file.name}:{number}: write an object with "text", "level" and "cats".') from None
        if not isinstance(text, str) or level not in range(4) or not set(cats) <= set(CATEGORIES):
            raise BadRequest(f"{file.name}:{number}: level is 0 to 3, cats are letters of {CATEGORIES}.")
        out.append((text, level, cats))
    return out
