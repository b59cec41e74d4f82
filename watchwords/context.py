"""What the words around a match say about it: negation, the past, somebody else's words, a joke.

A rule may lower a level by one, or to 1, and always says so with a reason code; none ever removes a match. A person
still sees it, only later. Who is meant (a friend, oneself) changes nothing: worry about somebody else is level 2 as
well.
"""

import re

NEGATED = "negated"
PAST = "past"
QUOTED = "quoted"
HYPERBOLE = "hyperbole"

# How much of a text before and after a match is looked at; a bound, so that a long text stays linear.
_BEFORE, _AFTER = 120, 120
_CLAUSE_END = re.compile(r"[.!?;\n]|\b(?:but|however|although|though|except|yet)\b")
# A negating word reaches the match only through words that carry nothing of their own.
_NEGATED = re.compile(
    r"\b(?:no|not|never|without|havent|hasnt|dont|doesnt|didnt|isnt|arent|wasnt|wont|"
    r"wouldnt|couldnt|denies|denied|no longer)"
    r"(?: (?:having|have|had|been|being|get|getting|got|really|actually|even|any|an|a|the|going|gonna|"
    r"planning|plan|plans|"
    r"to|want|wanted|wanting|wanna|feel|feeling|felt|thinking|think|of|about|or|active|actively|intention|intent|intending|"
    r"thoughts?|urges?|ever|would|at|risk|currently|i|am|im|ill|be|been)){0,8} $"
)
# "not sure if I want to", "can't not", "why not", "not gonna lie", "don't know if": none of these says no.
_NOT_NEGATED = re.compile(
    r"\b(?:not sure|dont know|not gonna lie|not going to lie|why not|cant not|might not|not only|if) "
)
_PAST = re.compile(
    r"\b(?:(?:years|yrs|months|decades?) ago|used to|"
    r"when i was (?:a |\d|young|at school|little|in my)|as a (?:kid|child|teen)|"
    r"back in (?:\d|my|the)|in the past|in my past|in recovery|recovered|"
    r"\d+ ?(?:years|yrs|months) (?:clean|free|sober)|no longer|havent (?:\w+ )?(?:in|for) (?:years|months|ages))\b"
)
_PRESENT = re.compile(
    r"\b(?:still|now|again|tonight|today|tomorrow|lately|recently|at the moment|"
    r"this (?:week|morning|evening|weekend|month)|"
    r"right now|last (?:night|week|month)|yesterday|coming back|come back|back again|"
    r"cant stop|every (?:day|night)|wish it)\b"
)
_QUOTED = re.compile(
    r"\b(?:lyrics?|song|film|movie|book|novel|episode|series|soap|podcast|documentary|headline|article|the news|"
    r"training|awareness|leaflet|poster|character|quote|plot)\b"
)
_JOKE = re.compile(r"\b(?:lo+l+|lmf?ao+|rofl|haha\w*|hehe\w*|jk|ffs|xd)\b|😂|🤣|😭|💀|😅|🙄")
_TRIVIAL = re.compile(
    r"\b(?:exams?|homework|essay|revision|coursework|mondays?|traffic|queue|wifi|wi fi|broadband|"
    r"football|match|the score|"
    r"hangover|hungover|cringe|embarrass\w*|meeting|commute|train|bus|parking|laundry|washing up|gym|leg day|buffering|"
    r"alarm|weather|cold|heat|diet coke|coffee|spreadsheet|printer|email|emails|teams call)\b"
)


def adjust(text: str, start: int, end: int, category: str, level: int) -> tuple[int, tuple[str, ...]]:
    """The level of a match in its context, and the codes of the rules that lowered it.

    Contact details, grooming and attacks are what they are whoever says them, so context does not touch them. The
    result is never below 1 for a match of level 1 or more.

    Args:
        text: the folded view; start, end: the match, half-open offsets in it.
        category: the entry's letter. level: the entry's level, 0 to 3.
    """
    if level < 2 or category in "PGX":
        return level, ()
    before = text[max(0, start - _BEFORE) : start]
    after = text[end : end + _AFTER]
    notes: list[str] = []
    clause = before
    for mark in _CLAUSE_END.finditer(before):
        clause = before[mark.end() :]
    if _NEGATED.search(clause) and not _NOT_NEGATED.search(clause):
        level -= 1
        notes.append(NEGATED)
    around = before + " | " + after
    if _PAST.search(around) and not _PRESENT.search(around):
        level -= 1
        notes.append(PAST)
    if _QUOTED.search(around) or (before.count('"') % 2 and '"' in after):
        level -= 1
        notes.append(QUOTED)
    # A joke about a trifle. Only below urgent: "lol" after a plan is how people say the hardest thing.
    if level < 3 and _JOKE.search(around) and _TRIVIAL.search(around):
        level = 1
        notes.append(HYPERBOLE)
    return max(1, level), tuple(notes)
