"""Which characters look like which Latin letter or digit.

Two tables: Unicode's own (`lookalikes.txt`, which says from which version), and what people use though Unicode does not
call it confusable (accents and styles that compatibility folding leaves alone, letters that only resemble). The second
wins where they differ. The first is made anew from a newer table with

    python -m watchwords.lookalikes confusables.txt > watchwords/lookalikes.txt
"""

import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

TABLE = Path(__file__).parent / "lookalikes.txt"

_BY_EYE = {
    # Cyrillic
    "абвгеёзийклмнопрстухьїіјѕһԁԛԝӏуѵҽɡ": "a6bree3nnkimhonpctyxbiijshdqwlyveg",
    # Greek
    "αβγδεηικλμνορσςτυχω": "abydeniklmvopsstuxw",
    # Small capitals and other Latin letters that compatibility folding leaves alone
    "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢıȷłøđħŧɑɒƙɩɪɾʂʈʋᵹɛɔƅ": "abcdefghijklmnoprstuvwyzijlodhtaakiirstvgeob",
    # Negative squared and negative circled letters
    "🅰🅱🅲🅳🅴🅵🅶🅷🅸🅹🅺🅻🅼🅽🅾🅿🆀🆁🆂🆃🆄🆅🆆🆇🆈🆉": "abcdefghijklmnopqrstuvwxyz",
    "🅐🅑🅒🅓🅔🅕🅖🅗🅘🅙🅚🅛🅜🅝🅞🅟🅠🅡🅢🅣🅤🅥🅦🅧🅨🅩": "abcdefghijklmnopqrstuvwxyz",
    # Regional indicators
    "🇦🇧🇨🇩🇪🇫🇬🇭🇮🇯🇰🇱🇲🇳🇴🇵🇶🇷🇸🇹🇺🇻🇼🇽🇾🇿": "abcdefghijklmnopqrstuvwxyz",
    # Dashes are spaces, as the hyphen is
    "‐‑‒–—―−﹘﹣": "---------",
    "•·∙": "...",
    "ғ": "f",
}
# Languages that members may write: their letters stay what they are, whatever they resemble.
_LEFT_ALONE = (
    "DEVANAGARI", "BENGALI", "GUJARATI", "GURMUKHI", "ORIYA", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA",
    "THAI ", "LAO ", "MYANMAR", "KHMER", "HANGUL", "CJK", "IDEOGRAPHIC",
)  # fmt: skip


def lookalikes(path: Path = TABLE) -> dict[str, str]:
    """Each strange character with the one ASCII character that it is read as."""
    table: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            plain, _, strange = line.partition(" ")
            table.update(dict.fromkeys(strange, plain))
    by_eye = {s: p for strange, plain in _BY_EYE.items() for s, p in zip(strange, plain, strict=True)}
    # Unicode makes one of capital i and small l; where we know the small letter, a capital is that letter.
    return {s: p for s, p in table.items() if s.casefold() not in by_eye} | by_eye


def table_from(confusables: Iterable[str]) -> str:
    """The lines of our table from those of Unicode's `confusables.txt`."""
    found: dict[str, list[str]] = {}
    for line in confusables:
        fields = line.lstrip("\ufeff").split("#")[0].split(";")
        if len(fields) < 3 or " " in fields[0].strip():
            continue
        strange = chr(int(fields[0], 16))
        plain = "".join(chr(int(code, 16)) for code in fields[1].split()).casefold()
        is_one = len(plain) == 1 and plain.isascii() and plain.isalnum()
        if is_one and not _already_plain(strange) and not _is_of_a_language(strange):
            found.setdefault(plain, []).append(strange)
    return "".join(f"{plain} {''.join(sorted(found[plain]))}\n" for plain in sorted(found))


def _already_plain(character: str) -> bool:
    return unicodedata.normalize("NFKD", character).casefold().isascii()


def _is_of_a_language(character: str) -> bool:
    return unicodedata.bidirectional(character) in {"R", "AL", "AN"} or any(
        word in unicodedata.name(character, "") for word in _LEFT_ALONE
    )


if __name__ == "__main__":
    header = [line for line in TABLE.read_text(encoding="utf-8").splitlines(keepends=True) if line.startswith("#")]
    sys.stdout.write("".join(header) + table_from(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()))
