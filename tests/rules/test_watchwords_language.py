"""What the filter can not read is known to be so."""

from __future__ import annotations

import pytest

from watchwords.labelled import TEST, TRAIN, load_corpus, of_part
from watchwords.language import KNOWN_WORDS, is_readable, words_of


@pytest.mark.parametrize(
    "text",
    [
        "main bahut thak gayi hoon ab aur nahi hota",
        "mujhe kal se kuch khaya nahi gaya",
        "tussi theek ho? mainu bahut dar lagda hai",
        "hu khub thaki gayo chu, mane kai gamtu nathi",
        "nie mam już siły, proszę pomóżcie mi",
        "nie mam juz sily, prosze pomozcie mi",
        "میں بہت تھک گیا ہوں",
        "ਮੈਨੂੰ ਮਦਦ ਚਾਹੀਦੀ ਹੈ",
        "મને મદદ જોઈએ છે",
        "мне очень плохо",
        "مدد",
        "hello everyone میں بہت تھک گیا ہوں",
    ],
)
def test_another_language_is_not_readable(text: str) -> None:
    """Urdu, Punjabi, Gujarati and Polish, in their own letters and in Latin ones, also behind an English greeting."""
    assert not is_readable(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I went down to the harbour this morning",
        "haha omg lmaoooo noooo way",
        "wud luv a cuppa tbh, u ok hun",
        "feeling dead tired yaar, bas need a chai and my bed",
        "my nani said inshallah it will be fine",
        "¯\\_(ツ)_/¯ oh well",
        "ʕ•ᴥ•ʔ",
        "😂😂😂 🎉🎉",
        "𝐬𝐨 𝐩𝐫𝐨𝐮𝐝 of you all",
        "do you know https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "Zbigniew Wójcik",
        "ta mate",
        "42 17 3.5",
    ],
)
def test_english_as_it_is_written_is_readable(text: str) -> None:
    """Text-speak, single words of another language, faces, styled letters, addresses, names and numbers are no other
    language."""
    assert is_readable(text)


def test_hardly_any_english_of_others_is_taken_for_another_language() -> None:
    """Of the messages from which no word was learnt, at most 4 in 1,000, most of them in broad dialect."""
    test = of_part(load_corpus(), TEST)
    assert sum(not is_readable(message.text) for message in test) <= len(test) * 0.004


@pytest.mark.parametrize("text", ["\ud800", "a \udfff b c d", "\x00" * 50, "\u0301" * 5_000, "ﷺ" * 3_000, "x" * 65_536])
def test_no_text_is_too_strange_to_judge(text: str) -> None:
    """Lone surrogates, marks without letters, letters that unfold to eighteen: an answer, never an exception."""
    assert is_readable(text) in (True, False)


def test_the_known_words_are_those_of_the_training_part() -> None:
    """Whoever changes the corpus writes them down anew: `python -m watchwords.language`."""
    words = words_of(message.text for message in of_part(load_corpus(), TRAIN))
    assert KNOWN_WORDS.read_text(encoding="ascii").split() == words
