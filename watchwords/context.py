"""What the words around a match say about it: negation, the past, somebody else's words or troubles, a joke.

Each is a named term. Some lower a level by one, or to 1, and none ever removes a match: a person still sees it, only
later. The others change no level: they are what a moderator reads beside the reason, and what a model may weigh. Who is
meant (a friend, oneself) lowers nothing: worry about somebody else is level 2 as well.
"""

import re
from collections.abc import Sequence

NEGATED = "negated"
PAST = "past"
QUOTED = "quoted"
HYPERBOLE = "hyperbole"
RECOVERY = "recovery"
THIRD_PERSON = "third_person"
ON_BEHALF = "on_behalf"
HYPOTHETICAL = "hypothetical"
TRIVIAL_CAUSE = "trivial_cause"
LYRICS = "lyrics"
HELPLINE = "helpline"
TRAINING = "training"
IDIOM = "idiom_near"

TERMS = {
    NEGATED: "says that it is not so",
    PAST: "tells of the past",
    QUOTED: "tells of a film, a book, the news or what somebody else said",
    HYPERBOLE: "jokes about a trifle",
    RECOVERY: "speaks of getting better",
    THIRD_PERSON: "speaks of somebody else",
    ON_BEHALF: "asks on behalf of somebody",
    HYPOTHETICAL: "supposes something",
    TRIVIAL_CAUSE: "gives a trifle as the cause",
    LYRICS: "quotes a song",
    HELPLINE: "names a helpline or a crisis service",
    TRAINING: "speaks of training, study or policy",
    IDIOM: "uses a figure of speech nearby",
}
LOWERING = frozenset({NEGATED, PAST, QUOTED, HYPERBOLE})

# How much of a text before and after a match is looked at; a bound, so that a long text stays linear.
_BEFORE, _AFTER = 120, 120
_CLAUSE_END = re.compile(r"[.!?;\n]|\b(?:but|however|although|though|except|yet)\b")
_SENTENCE_END = re.compile(r"[.!?\n]")
# A negating word reaches the match only through words that carry nothing of their own.
_NEGATED = re.compile(
    r"\b(?:no|not|never|without|havent|hasnt|dont|doesnt|didnt|isnt|arent|wasnt|wont|"
    r"wouldnt|couldnt|(?:have|has|do|does|did|is|are|was|would|could)n t|won t|denies|denied|no longer)"
    r"(?: (?:having|have|had|been|being|get|getting|got|really|actually|even|any|an|a|the|going|gonna|"
    r"planning|plan|plans|"
    r"to|want|wanted|wanting|wanna|feel|feeling|felt|thinking|think|of|about|or|active|actively|intention|intent|intending|"
    r"thoughts?|urges?|ever|would|at|risk|currently|i|am|im|ill|be|been)){0,8} $"
)
# "not sure if I want to", "can't not", "why not", "not gonna lie", "don't know if": none of these says no. Nor does an
# answer ("so no, I want to die"), nor a day or a reason on which one did not: it tells of a struggle.
_NOT_NEGATED = re.compile(
    r"\b(?:not sure|dont know|don t know|not gonna lie|not going to lie|why not|cant not|might not|not only|if|"
    r"not even good|(?:couldnt|cant|could not|can not) even|no,? (?:i|im)|"
    r"(?:every|each|another|one) (?:single |whole )?(?:day|night|time|morning|week|hour) (?:that )?i|"
    r"reasons? (?:why |that )?(?:i|not|im|ive)|thing (?:why |that )?i) "
)
# "I have never wanted to die more than now", "I didn't do it yet": a "no" that compares, or holds for the time being.
_COMPARED = re.compile(
    r"^[^.!?;]{0,25}\b(?:more (?:than|in my)|as (?:much|bad|badly|strongly) as|(?:so|this) (?:much|bad|badly|strongly)|"
    r"like i do)\b|^ yet\b"
)
# "My nurse asked if I think of dying and I could honestly say no."
_DENIED_AFTER = re.compile(
    r"^[^.!?;]{0,30}\b(?:honestly|truthfully|happily|genuinely) (?:say|said|answer|answered) no\b"
)
_PAST = re.compile(
    r"\b(?:(?:years|yrs|months|decades?) ago|(?:i|we|he|she|they|who|you|it|always|once|and|just) used to|^used to|"
    r"when i was (?:a |\d|young|at school|little|in my)|as a (?:kid|child|teen)|"
    r"back in (?:\d|my|the (?:day|days|\d|summer|past))|in (?:19\d\d|20[01]\d)|"
    r"in the past|in my past|in recovery|recovered|"
    r"\d+ ?(?:years|yrs|months) (?:clean|free|sober)|no longer|havent (?:\w+ )?(?:in|for) (?:years|months|ages))\b"
)
_PRESENT = re.compile(
    r"\b(?:still|now|again|tonight|today|tomorrow|lately|recently|at the moment|"
    r"this (?:week|morning|evening|weekend|month)|"
    r"right now|last (?:night|week|month)|yesterday|coming back|come back|back again|"
    r"cant stop|every (?:day|night)|wish it|"
    r"(?:is|are|r) (?:all )?back|back (?:again|stronger|worse)|getting (?:worse|bad))\b"
)
# "Now" that tells of better days makes nothing present.
_WELL_NOW = re.compile(
    r"\b(?:(?:different|better|fine|happy|well|stable|safe|clean|sober) (?:now|today)|"
    r"(?:and|but) (?:he|she|they) now|today i (?:teach|counsel|help|work|run|support|train)|"
    r"i (?:teach|volunteer|work here|help others) now|"
    r"now (?:i (?:teach|work|help|volunteer|run|study|support|train|love)|"
    r"im (?:so |much |really )?(?:better|well|happy|fine|ok|okay|stable|clean|sober)))\b"
)
_QUOTED = re.compile(
    r"\b(?:lyrics?|memoir|autobiography|biography|"
    r"song|film|movie|book|novel|episode|series|soap|podcast|documentary|headline|article|the news|"
    r"training|awareness|leaflets? (?:about|on|for)|poster|character|quote|plot)\b"
)
# The same words where nothing is quoted: a figure of speech, a thing to write in, an hour of the day.
_NOT_QUOTED = re.compile(
    r"\b(?:like (?:a|in a|some|that) (?:bad |horror |sad )?(?:film|movie|book|song|soap)|plot twist|"
    r"(?:a sad|what|my) song|"
    r"(?:bank|maths|math|english|exercise|note|rough|cheque|colouring|phone|sketch|his|her|my) book|"
    r"(?:all|before|during|after) the news|no news|self awareness)\b"
)
_JOKE = re.compile(r"\b(?:lo+l+|lmf?ao+|rofl|haha\w*|hehe\w*|jk|ffs|xd)\b|😂|🤣|😭|💀|😅|🙄")
_TRIVIAL = re.compile(
    r"\b(?:exams?|homework|essay|revision|coursework|mondays?|traffic|queue|wifi|wi fi|broadband|"
    r"football|match|the score|"
    r"hangover|hungover|cringe|embarrass\w*|meeting|commute|train|bus|parking|laundry|washing up|gym|leg day|buffering|"
    r"game|gaming|fifa|fortnite|minecraft|raid|boss fight|lag|assignments?|deadlines?|group project|lectures?|"
    r"presentation|"
    r"spoilers?|album|concert|tickets?|finale|pizza|cake|"
    r"alarm|weather|cold|heat|diet coke|coffee|spreadsheet|printer|email|emails|teams call)\b"
)


_OTHERS = (
    r"(?:mum|mam|mom|dad|nan|gran|grandad|son|daughter|lad|lass|brother|sister|bro|sis|friend|mate|bestie|partner|"
    r"husband|wife|ex|bf|gf|boyfriend|girlfriend|housemate|flatmate|neighbour|colleague|uncle|aunt|auntie|cousin|kid|"
    r"child|client)"
)
# The last of these before a match is who does or feels it: group 1, or else somebody else.
_SUBJECT = re.compile(
    r"\b(?:(i|im|ive|ill|id|we|me|myself)|he|hes|she|shes|they|theyre|theyve|someone|somebody|"
    rf"(?:my|our|his|her|a|the) (?:best |old |little |big |step)?{_OTHERS}s?)\b"
)
_OF_OTHERS_AFTER = re.compile(r"^\W*(?:him|her|them)sel(?:f|ves)\b")
_RECOVERY = re.compile(
    r"\b(?:in recovery|recover(?:ed|ing)|clean (?:for|since|now)|sober|(?:days|weeks|months|years) (?:free|clean)|"
    r"got better|getting better|got through|came through|survived|glad i didnt|no longer|dont any ?more|used to)\b"
)
_ON_BEHALF = re.compile(
    r"\b(?:asking for (?:a|my)|for a (?:friend|mate)|"
    r"(?:worried|scared|concerned|frightened) (?:about|for) (?:my|a|his|her|him|them|someone)|"
    r"(?:how|what) (?:do|can|should|shall) i (?:help|say|do)|"
    rf"my {_OTHERS} (?:said|says|told|keeps|wants|tried|is|has|texted|rang))\b"
)
_HYPOTHETICAL = re.compile(r"\b(?:if|what if|would|wouldnt|could|imagine|suppose|supposing|unless)\b")
_LYRICS = re.compile(r"\b(?:lyrics?|chorus|verse|song|songs|sings|singing|sang|album|track|tune|playlist)\b")
_HELPLINE = re.compile(
    r"\b(?:samaritans|116 ?123|childline|helpline|hotline|crisis (?:line|team|text)|shout|85258|papyrus|nhs 111|999|"
    r"a and e|a&e)\b"
)
_TRAINING = re.compile(
    r"\b(?:training|course|workshop|module|lecture|seminar|essay|dissertation|assignment|placement|policy|protocol|"
    r"safeguarding|prevention|awareness|research|study|webinar|first aider?)\b"
)
_IDIOM = re.compile(
    r"\b(?:killing me|killed me|kill for|dying (?:to|for|of|laughing)|die of|died of|to die for|could murder|dead good|"
    r"drop dead|over my dead body|bored to death|scared to death|worked to death|shoot me now)\b"
)
_AROUND = (
    (RECOVERY, _RECOVERY),
    (ON_BEHALF, _ON_BEHALF),
    (LYRICS, _LYRICS),
    (HELPLINE, _HELPLINE),
    (TRAINING, _TRAINING),
    (IDIOM, _IDIOM),
)


def adjust(text: str, start: int, end: int, category: str, level: int) -> tuple[int, tuple[str, ...]]:
    """The level of a match in its context, and the codes of the terms that hold there, those that lowered it first.

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
    denied = _NEGATED.search(clause) and not _NOT_NEGATED.search(clause) and not _COMPARED.search(after)
    if denied or _DENIED_AFTER.search(after):
        level -= 1
        notes.append(NEGATED)
    around = before + " | " + after
    sentence = _SENTENCE_END.split(before)[-1] + " | " + _SENTENCE_END.split(after)[0]
    if (
        _PAST.search(sentence)
        and not _PRESENT.search(_WELL_NOW.sub("", around))
        and not _PRESENT.search(text[start:end])
    ):
        level -= 1
        notes.append(PAST)
    if _QUOTED.search(_NOT_QUOTED.sub("", around)) or (before.count('"') % 2 and '"' in after):
        level -= 1
        notes.append(QUOTED)
    # A joke about a trifle. Only below urgent: "lol" after a plan is how people say the hardest thing.
    if level < 3 and _JOKE.search(around) and _TRIVIAL.search(around):
        level = 1
        notes.append(HYPERBOLE)
    notes += _colouring(clause + text[start:end], around, after)
    return max(1, level), tuple(notes)


def plainly(terms: Sequence[str]) -> str:
    """What the terms say, as a sentence for people; "" for none."""
    parts = [f"{TERMS[term]}, which lowers it" if term in LOWERING else TERMS[term] for term in terms]
    return f"The text around it {'; '.join(parts)}." if parts else ""


def _colouring(clause: str, around: str, after: str) -> list[str]:
    """The terms that change no level. `clause`: the match with what stands before it in its clause."""
    notes = [term for term, pattern in _AROUND if pattern.search(around)]
    subjects = [subject[1] for subject in _SUBJECT.finditer(clause)]
    if (subjects and subjects[-1] is None) or _OF_OTHERS_AFTER.search(after):
        notes.append(THIRD_PERSON)
    if _HYPOTHETICAL.search(clause):
        notes.append(HYPOTHETICAL)
    if _TRIVIAL.search(around):
        notes.append(TRIVIAL_CAUSE)
    return notes
