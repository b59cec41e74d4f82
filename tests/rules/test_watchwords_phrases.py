"""What people plainly say, and must be found; and what only sounds like it, and must not be."""

import pytest

from server.main import load_lists

MATCHER = load_lists()


def strongest(text: str) -> int:
    return max((match.level for match in MATCHER.find(text)), default=0)


@pytest.mark.parametrize(
    "text",
    [
        # suicide
        "I don't see the point in living anymore",
        "i cant do this anymore i want to end it",
        "wish i could just go to sleep and not wake up",
        "my family would be better off without me",
        "thinking about ending it all",
        "i've been thinking about killing myself a lot",
        "everyone would be happier if i was dead",
        "i have a plan to kill myself",
        "ive written my goodbye letters",
        "sorry mum i cant go on, goodbye forever",
        "im at the bridge and i want to jump",
        "i want to disappear and never come back",
        "cant see any reason to stay alive",
        "i tried to hang myself yesterday",
        "my friend says she wants to kill herself",
        "nobody would care if i died",
        "i should have died last time",
        "i just want the pain to end, i want to die",
        "just wanna be dead tbh",
        "im done with life",
        "i'm going to take my own life tonight",
        # self-harm
        "i cut myself again last night",
        "really want to cut right now",
        "ive been burning my arms",
        "i keep hitting myself when im angry",
        "relapsed and self harmed",
        # medicine
        "ive just taken 40 paracetamol",
        "i took an overdose",
        "how many pills would it take to kill me",
        "ive been saving up my tablets",
        "took way too many sleeping pills",
        "i drank a bottle of vodka with my antidepressants",
        "thinking of taking all my pills",
        # harm to others
        "im going to stab him",
        "i want to kill my stepdad",
        "ive got a knife and im going to his house",
        "i feel like hurting people",
        "i hit my wife last night",
        # abuse
        "my boyfriend hits me",
        "my dad beats me",
        "he strangled me",
        "my husband controls all my money",
        "i was raped last year and now its all come back",
        "im scared to go home",
        "he locks me in the house",
        "my uncle touches me",
        "my partner threatens to kill me",
        # eating
        "i make myself sick after every meal",
        "i havent eaten for 4 days",
        "ive been taking laxatives every day",
        "im starving myself",
        "my anorexia is getting worse",
        # crisis
        "the voices are telling me to hurt someone",
        "im hearing voices again",
        "i have nowhere to sleep tonight",
        "i think im having a breakdown",
        "they are watching me through my phone",
        "i dont feel safe with myself",
        "ive relapsed on heroin",
        # grooming
        "youre so mature for your age, dont tell your mum we talk",
        "send me a pic in your uniform",
        "add me on snap so your parents dont see, its our secret",
        "are you home alone",
        # harassment
        "kill yourself nobody likes you",
        "you are a fat ugly bitch",
        "go back to your own country",
        "kys loser",
        "i hate gay people",
        "i know where you live",
    ],
)
def test_plain_words_are_found(text: str) -> None:
    """A plain statement of high need is level 2 or more, whatever the category."""
    assert strongest(text) >= 2


@pytest.mark.parametrize(
    "text",
    [
        "I've just taken all my tablets, the whole box",
        "im going to kill myself tonight",
        "ive got the rope and im ready to die",
        "hes got his hands round my neck",
        "im on the roof and im going to jump",
        "ive cut too deep and it wont stop bleeding",
        "voices are telling me to kill my baby",
        "this is my last message, dont look for me",
        "im going to burn his house down tonight",
        "my mate has taken loads of pills and wont wake up",
    ],
)
def test_danger_now_is_urgent(text: str) -> None:
    """An act, a means in hand or a goodbye is level 3."""
    assert strongest(text) == 3


@pytest.mark.parametrize(
    "text",
    [
        "this heat is killing me",
        "I could murder a curry",
        "my phone died on the bus",
        "dying laughing at this",
        "that cake was to die for",
        "he killed me in the game",
        "hanging out with mates",
        "cutting the grass before it rains",
        "cutting down on sugar",
        "overdosed on chocolate at easter",
        "shoot me an email",
        "bombed my driving test",
        "doing a course on suicide prevention",
        "suicide rates are on the news again",
        "took my tablets with my tea",
        "bath bombs for christmas",
        "jump in the shower",
        "binge watching the new series",
        "the carers have been lovely with my nan",
        "my brother is picking me up at six",
        "hit the gym and then the shops",
        "my son is fussy, only eats beige food",
        "stuck in traffic, kill me now lol",
        "what time do you go on holiday",
        "send me a photo of the dog",
        "we moved house on friday",
        "going to beat him at chess",
        "my mum will kill me if i am late",
        "shot some great photos",
        "the boiler died again",
        "I slept through my alarm",
    ],
)
def test_what_only_sounds_like_it_is_not_raised(text: str) -> None:
    """Idioms, games, cooking, sport and routine stay below level 2."""
    assert strongest(text) < 2
