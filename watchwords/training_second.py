"""How the second stage's head is made: on the messages that teach the first stage, and on what that one misses of them.

Decided here: the head's form (one line through the directions for each question) and its thresholds. Everything that is
decided by comparison is decided on families that neither stage's weights had seen; the test part is never read here.
Needs the extra `train` and the sentence model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from watchwords.embedding import Embedded, Embedder, Floats
from watchwords.labelled import TRAIN, Labelled, of_part
from watchwords.lexicon import CATEGORIES
from watchwords.matcher import Matcher
from watchwords.model import CONCERN, URGENT, version_of
from watchwords.second import ASKED, FORMAT, packed
from watchwords.training import FOLDS, SEED, WEIGHT_OF_GREY, Sample, digest_of, flagged_unseen, samples_of

# Chosen by grouped cross-validation within the train part, November 2026.
STRENGTH = 3.0
# What the thresholds must keep, on messages of unseen families: of what the second stage alone makes 2 or more and is
# not grey, the part that is; alerts that it adds in a thousand ordinary messages; of what it makes 3, the part that is.
LEAST_PPV, MOST_ALERTS, LEAST_URGENT = 0.75, 2 / 1000, 0.80
# From fewer messages nothing is concluded.
LEAST_TO_JUDGE = 20
# Log odds that no message has.
NEVER = 99.0
TOLD_EVERY = 1_000


def train_second(
    corpus: Sequence[Labelled],
    matcher: Matcher,
    embedder: Embedder,
    talk: Sequence[str] = (),
    reviewed: Sequence[Sample] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The content of a head's file; the same for the same corpus, lists, sentence model and libraries.

    Args:
        corpus: all labelled messages; only the train part is looked at.
        matcher: the lists of the first stage, to which this one is added.
        talk: ordinary messages at level 0 besides those of the corpus, in conversations' order.
        reviewed: a provider's own reviewed messages.
        tell: told what is being done.
    """
    everything = samples_of(corpus, matcher, talk, reviewed)
    samples = [sample for sample in everything if sample.measured]
    tell(f"{len(samples)} texts")
    embedded = _embed(embedder, [sample.text for sample in samples], tell)
    seen_already = flagged_unseen(everything, matcher, tell)
    answers = _unseen(samples, embedded)
    judged = _Judged(
        answers,
        np.array([sample.level for sample in samples]),
        np.asarray(seen_already),
        np.array([sample.ordinary for sample in samples]),
    )
    thresholds = judged.thresholds()
    tell("all together")
    weights, bias = _fit(samples, embedded, np.arange(len(samples)), ASKED)
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": "",
        "asked": list(ASKED),
        "embedder": embedder.digest,
        "trained": {
            "corpus": digest_of(of_part(corpus, TRAIN)),
            "lists": matcher.version,
            "messages": len(samples),
            "reviewed": len(reviewed),
            "seed": SEED,
        },
        "thresholds": {name: round(value, 4) for name, value in thresholds.items()},
        "bias": [round(float(value), 5) for value in bias],
        "weights": packed(weights),
        "measured": {"unseen_families": judged.figures(thresholds)},
    }
    content["version"] = version_of(content)
    return content


def _embed(embedder: Embedder, texts: Sequence[str], tell: Callable[[str], None]) -> Embedded:
    """The directions of many texts, with a word now and then."""
    rows, owners = [], []
    for at in range(0, len(texts), TOLD_EVERY):
        tell(f"reading from text {at + 1} on")
        some = embedder.embed(texts[at : at + TOLD_EVERY])
        rows.append(some.rows)
        owners.append(some.text_of_row + at)
    return Embedded(np.concatenate(rows), np.concatenate(owners))


def _unseen(samples: Sequence[Sample], embedded: Embedded) -> Floats:
    """(texts, 2): concern and urgency of each text by weights that had not seen its family."""
    answers = np.zeros((len(samples), 2))
    for learn, check in _folds(samples):
        weights, bias = _fit(samples, embedded, learn, (CONCERN, URGENT))
        odds = embedded.rows @ weights + bias
        order = np.lexsort((-odds[:, 0], embedded.text_of_row))
        _, first = np.unique(embedded.text_of_row[order], return_index=True)
        answers[check] = odds[order[first]][check]
    return answers


def _folds(samples: Sequence[Sample]) -> Iterator[tuple[Any, Any]]:
    groups = [sample.group for sample in samples]
    return iter(GroupKFold(FOLDS, shuffle=True, random_state=SEED).split(groups, groups=groups))


def _fit(samples: Sequence[Sample], embedded: Embedded, texts: Any, asked: Sequence[str]) -> tuple[Floats, Floats]:
    """Weights (dimensions by questions) and biases, learnt from some of the texts."""
    chosen: Any = np.zeros(len(samples), dtype=bool)
    chosen[texts] = True
    rows = np.flatnonzero(chosen[embedded.text_of_row])
    of_text = embedded.text_of_row[rows]
    levels = np.array([sample.level for sample in samples])
    weight = np.array([sample.weight for sample in samples])
    concern = weight * np.where(levels == 1, WEIGHT_OF_GREY, 1.0)
    targets = {CONCERN: (levels >= 2, concern), URGENT: (levels == 3, weight)}
    for category in CATEGORIES:
        # Which it is, is asked only of what concerns somebody.
        targets[category] = (np.array([category in sample.cats for sample in samples]), weight * (levels >= 1))
    weights = np.zeros((embedded.rows.shape[1], len(asked)))
    bias = np.zeros(len(asked))
    for place, question in enumerate(asked):
        truth, share = targets[question]
        used = np.flatnonzero(share[of_text] > 0)
        fit = LogisticRegression(C=STRENGTH, max_iter=2_000, random_state=SEED)
        fit.fit(embedded.rows[rows[used]], truth[of_text[used]], sample_weight=share[of_text[used]])
        weights[:, place], bias[place] = fit.coef_[0], fit.intercept_[0]
    return weights, bias


@dataclass(frozen=True)
class _Judged:
    """What both stages made of texts of families that they had not seen.

    `answers`: concern and urgency by this stage. `flagged`: what the first stage makes 2 or more.
    """

    answers: Floats
    levels: Any
    flagged: Any
    ordinary: Any

    def thresholds(self) -> dict[str, float]:
        """The lowest concern that keeps PPV and alerts in what is added, and the lowest urgency that keeps its PPV."""
        concern, urgency = self.answers[:, 0], self.answers[:, 1]
        flag = NEVER
        for threshold in np.unique(np.quantile(concern, np.linspace(0.3, 0.999, 400)))[::-1]:
            added = ~self.flagged & (concern >= threshold)
            right, wrong = (added & (self.levels >= 2)).sum(), (added & (self.levels == 0)).sum()
            if added[self.ordinary].mean() > MOST_ALERTS:
                break
            if right + wrong >= LEAST_TO_JUDGE and right >= LEAST_PPV * (right + wrong):
                flag = float(threshold)
        urgent = NEVER
        raised = concern >= flag
        for threshold in np.unique(np.quantile(urgency, np.linspace(0.5, 0.999, 400)))[::-1]:
            called = raised & (urgency >= threshold)
            if called.sum() >= LEAST_TO_JUDGE:
                if (self.levels[called] == 3).mean() < LEAST_URGENT:
                    break
                urgent = float(threshold)
        return {"flag": flag, "urgent": urgent}

    def figures(self, thresholds: Mapping[str, float]) -> dict[str, float]:
        """What the thresholds keep on these texts."""
        added = ~self.flagged & (self.answers[:, 0] >= thresholds["flag"])
        high, none = self.levels >= 2, self.levels == 0
        right, wrong = int((added & high).sum()), int((added & none).sum())
        called = (self.answers[:, 0] >= thresholds["flag"]) & (self.answers[:, 1] >= thresholds["urgent"])
        return {
            "texts": len(self.levels),
            "sensitivity_first": round(float(self.flagged[high].mean()), 3),
            "sensitivity_both": round(float((self.flagged | added)[high].mean()), 3),
            "ppv_of_added": round(right / max(1, right + wrong), 3),
            "added": int(added.sum()),
            "added_per_1000_ordinary": round(float(added[self.ordinary].mean()) * 1000, 1),
            "called_urgent": int(called.sum()),
            "ppv_urgent": round(float((self.levels[called] == 3).mean()), 3) if called.any() else 0.0,
        }
