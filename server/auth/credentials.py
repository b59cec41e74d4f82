"""Secrets and names: how they are made, what is kept of them, and what is accepted.

Pure. Tokens, tickets and recovery codes are random enough that a plain SHA-256 is all that has to be kept; passwords
are not, and are hashed in `actions.passwords`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from typing import Final

from server.errors import BadRequest, TooLong
from watchwords.normalise import fold

TOKEN_BYTES: Final = 32
RECOVERY_CODES: Final = 10
PASSWORD_LEAST: Final = 10
PASSWORD_MOST: Final = 200
NAME_LEAST: Final = 2
NAME_MOST: Final = 30
NAME_KEY_MOST: Final = 120

# 32 letters and digits that can be read aloud: no I, L, O or U. 20 of them are 100 bits.
_READABLE: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_GROUPS: Final = 4
_GROUP: Final = 5
_MISREAD: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "U": "V"})
_BETWEEN: Final = re.compile(r"[\s\-_.]+")
_TOKEN: Final = re.compile(r"\A[A-Za-z0-9_-]{43}\Z")
_LOOK_ALIKE: Final = (("rn", "m"), ("vv", "w"), ("0", "o"), ("1", "l"), ("i", "l"), ("5", "s"), ("3", "e"), ("4", "a"))

# The most used passwords of ten characters or more, and what people make of this service's name, folded and without
# anything between the letters.
_COMMON_TEXT: Final = """
    1234567890 0123456789 9876543210 12345678910 123456789a 1234512345 1122334455 1111111111 0000000000 123123123123
    qwertyuiop qwerty1234 qwerty12345 qwerty123456 1q2w3e4r5t 1qaz2wsx3edc q1w2e3r4t5 asdfghjkl1 zxcvbnm123 abcd123456
    abc1234567 abcdefghij password12 password123 password1234 password12345 passw0rd123 password01 mypassword
    mypassword1 iloveyou12 iloveyou123 iloveyou1234 welcome123 welcome1234 letmein123 letmein1234 changeme123
    changemenow football123 liverpool1 manchester manchester1 manchesterunited charlotte1 sunshine123 princess123
    superman123 administrator admin12345 administrator1 evenkeel123 evenkeel1234 evenkeelevenkeel
"""
_COMMON: Final = frozenset(_COMMON_TEXT.split())
# A name that makes a member look like the team or like a help line (folded, nothing between the letters).
_OFFICIAL: Final = (
    "moderator", "therapist", "clinician", "facilitator", "administrator", "clinicallead", "samaritan", "evenkeel",
    "supportteam", "helpline", "crisisteam", "counsellor", "psychologist", "psychiatrist",
)  # fmt: skip
_OFFICIAL_WHOLE: Final = frozenset({"admin", "mod", "mods", "nhs", "staff", "team", "system", "support", "help"})


def new_token() -> str:
    """A fresh secret of 256 bits, as 43 characters that are safe in a header or a cookie."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def looks_like_token(text: str) -> bool:
    """Whether `text` has the form of a token; anything else is not looked up."""
    return _TOKEN.match(text) is not None


def token_hash(token: str) -> bytes:
    """What is kept of a token, a ticket or a recovery code: 32 bytes."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell how much of them is."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def new_recovery_codes() -> tuple[str, ...]:
    """Ten codes of 100 bits each, written as four groups of five."""
    return tuple(
        "-".join("".join(secrets.choice(_READABLE) for _ in range(_GROUP)) for _ in range(_GROUPS))
        for _ in range(RECOVERY_CODES)
    )


def recovery_hash(code: str) -> bytes:
    """What is kept of a recovery code; case, spaces, hyphens and letters that are misread do not matter."""
    return token_hash(_BETWEEN.sub("", unicodedata.normalize("NFKC", code)).upper().translate(_MISREAD))


def form_token(secret: bytes, binding: str) -> str:
    """The token that a form of the browser carries.

    Args:
        secret: `Services.secret`.
        binding: the session id; where nobody is signed in, a random value that the browser holds in a cookie.
    """
    return hmac.new(secret, b"form\x00" + binding.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def form_token_holds(secret: bytes, binding: str, token: str | None) -> bool:
    """Whether `token` is the form token of `binding`."""
    return token is not None and same(form_token(secret, binding), token)


def normal_password(password: str) -> str:
    """A password as it is hashed: NFKC, so that two keyboards that write one letter differently agree.

    Anything over the bound is cut just behind it: it equals no password that was accepted, and costs no more.
    """
    return unicodedata.normalize("NFKC", password[: PASSWORD_MOST + 1])


def check_password(password: str, name: str) -> None:
    """Accept a new password: 10 to 200 characters, not the name, not one of the best known.

    No further rule on what it is made of (NIST SP 800-63B, section 5.1.1.2: length counts, composition does not).

    Raises:
        TooLong: over 200 characters.
        BadRequest: says what to choose instead.
    """
    if len(password) > PASSWORD_MOST:
        raise TooLong(f"Please choose a password of at most {PASSWORD_MOST} characters.", field="password")
    if len(password) < PASSWORD_LEAST:
        raise BadRequest(
            f"Please choose a password of {PASSWORD_LEAST} characters or more. Three or four words together work well.",
            code="password_too_short",
            field="password",
        )
    bare = _bare(password)
    if bare in _COMMON or len(set(bare)) < 3:
        raise BadRequest(
            "Many people use that password, so it would be guessed first. Three or four words together work well.",
            code="password_too_common",
            field="password",
        )
    own = _bare(name)
    if own and own in bare and len(bare) - len(own) < 4:
        raise BadRequest(
            "Please choose a password that is not your name here; everybody can see that.",
            code="password_is_name",
            field="password",
        )


def normal_name(name: str) -> str:
    """A name as it is shown: NFKC, without space around it, single spaces inside."""
    return " ".join(unicodedata.normalize("NFKC", name[: 4 * NAME_MOST]).split())


def check_name(name: str) -> str:
    """Accept the form of a name and return it as it will be shown.

    2 to 30 characters: letters and digits of any script, single spaces, hyphens, underlines, beginning with a letter or
    a digit. Whether it is free, screened and not misleading is decided later.

    Raises:
        BadRequest: says what a name may be.
    """
    shown = normal_name(name)
    ok = (
        NAME_LEAST <= len(shown) <= NAME_MOST
        and shown[0].isalnum()
        and all(character.isalnum() or character in " -_" for character in shown)
        and 0 < len(name_key(shown)) <= NAME_KEY_MOST
    )
    if not ok or len(name) > 4 * NAME_MOST:
        raise BadRequest(
            f"A name has {NAME_LEAST} to {NAME_MOST} letters, digits, spaces, hyphens or underlines.",
            code="bad_name",
            field="pseudonym",
        )
    return shown


def name_key(name: str) -> str:
    """The name with everything folded by which two names may look alike; equal keys are the same name."""
    key = _bare(normal_name(name))
    for look, plain in _LOOK_ALIKE:
        key = key.replace(look, plain)
    return key[: NAME_KEY_MOST + 1]


def may_mislead(name: str) -> bool:
    """Whether a member of that name could be taken for the team or for a help line."""
    key = name_key(name)
    return key in {name_key(word) for word in _OFFICIAL_WHOLE} or any(name_key(word) in key for word in _OFFICIAL)


def _bare(text: str) -> str:
    return _BETWEEN.sub("", fold(unicodedata.normalize("NFKC", text)))
