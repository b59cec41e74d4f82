"""The words of one run: who made them, on which paths, and where they were found; the only judge of this campaign."""

from __future__ import annotations

import random
import string
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from ops.torture.history import Violation, outcome
from ops.trial import PASSWORD

LETTERS: Final = 12


@dataclass(frozen=True, slots=True)
class Canary:
    """A word that nobody else says, and the path it was sent down. `is_name`: the database holds it as it is."""

    word: str
    path: str
    is_name: bool = False


@dataclass
class CanaryCampaign:
    """What was sent and where it was found.

    Attributes:
        secrets: passwords, recovery codes, tokens, cookies, form tokens and tickets.
        searched: how many bytes were looked through, by place.
        names_stored: names that the database's files hold, which they may.
        echoed: paths on which an error gave back to somebody what they had just sent.
    """

    seed: int
    canaries: list[Canary] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    searched: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    names_stored: int = 0
    echoed: Counter[str] = field(default_factory=Counter)
    duration_s: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The campaign as plain values; no canary is among them."""
        return {
            "campaign": "canaries",
            "seed": self.seed,
            "canaries": len(self.canaries),
            "paths": len({canary.path for canary in self.canaries}),
            "secrets": len(self.secrets),
            "bytes_searched": dict(self.searched),
            "answers": dict(self.answers),
            "names_in_the_database": self.names_stored,
            "given_back_to_their_senders": len(self.echoed),
            "duration_s": round(self.duration_s, 1),
            **outcome(self.violations),
        }


class Cage:
    """Makes the canaries of one service, and keeps all that the service said where none may be.

    An error may hold what whoever is answered has just sent, so that a form is not lost with it, but for what they
    prove themselves with; and their own name, and the token of the form.

    Attributes:
        names: who has which cookie.
    """

    def __init__(self, campaign: CanaryCampaign, rng: random.Random) -> None:
        self._campaign, self._rng = campaign, rng
        self._first = len(campaign.canaries)
        self._secrets: set[str] = {PASSWORD}
        self._form_tokens: set[str] = set()
        self.names: dict[str, str] = {}
        self.heard: dict[str, bytes] = dict.fromkeys(("log", "numbers", "errors", "operator", "database", "redis"), b"")

    def word(self, path: str, *, is_name: bool = False) -> str:
        """A new word; letters only, so that a name may hold it."""
        word = "".join(self._rng.choices(string.ascii_lowercase, k=LETTERS))
        self._campaign.canaries.append(Canary(word, path, is_name))
        return word

    def secret(self, value: str) -> str:
        """Note what somebody proves themselves with."""
        self._secrets.add(value)
        return value

    def form_token(self, value: str) -> str:
        """Note the token of a person's forms."""
        self._form_tokens.add(value)
        return value

    def refused(self, place: str, sent: bytes, said: bytes) -> None:
        """Look into an answer that refuses something: whoever sent `sent` was told `said`."""
        campaign = self._campaign
        self.heard[place] += said
        for canary in campaign.canaries[self._first :]:
            if canary.word.encode() in said.lower():
                if canary.word.encode() in sent.lower():
                    campaign.echoed[canary.path] += 1
                else:
                    campaign.violations.append(Violation("leak", f"{canary.path}, in the {place} of somebody else"))
        if any(secret.encode() in said for secret in self._secrets):
            campaign.violations.append(Violation("secret", f"in the {place}"))

    def count(self, what: str) -> None:
        self._campaign.answers[what] += 1

    def search(self) -> None:
        """Look for everything everywhere; each find is a violation that names the path and the place, not the word."""
        campaign = self._campaign
        canaries = campaign.canaries[self._first :]
        secrets = self._secrets | self._form_tokens
        campaign.secrets |= secrets
        for place, data in self.heard.items():
            campaign.searched[place] += len(data)
            if place in ("errors", "operator"):
                continue  # each was looked into as it came
            lower = data.lower()
            for canary in canaries:
                if canary.word.encode() not in lower:
                    continue
                if canary.is_name and place == "database":
                    campaign.names_stored += 1
                else:
                    campaign.violations.append(Violation("leak", f"{canary.path}, in the {place}"))
            found = sum(secret.encode() in data for secret in secrets)
            if found:
                campaign.violations.append(Violation("secret", f"{found} secrets in the {place}"))
        for place in ("log", "numbers", "errors", "operator", "database"):
            if not self.heard[place]:
                campaign.violations.append(Violation("vain", f"nothing was ever said in the {place}"))
        if b"RuntimeError" not in self.heard["log"]:
            campaign.violations.append(Violation("vain", "no handler ever failed"))
