"""What people say about memory itself, and how memories are compared as words. Pure: no I/O, no model.

    commands_in("Remember that I live in Zürich. What's the time there?")    (Remember("I live in Zürich"),)
    commands_in("忘掉我住在柏林")                                              (Forget("我住在柏林"),)

A command is a sentence of its own that begins as one; a question never is. It works at once and without a model, so it
is narrow on purpose: what it does not understand is left to the model that reads the turn later.

And it is the user's own: what they paste may say "forget everything" as well. So only the first paragraph is read, and
of that only what comes before anything that introduces or quotes a text; and all is forgotten only if that is what the
message is about.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from functions.chat.messages import MemoryKind
from functions.inference.lexical import lexical_vector
from functions.reading.letters import in_one_form
from functions.settings import MEMORY_CHARS

READ_CHARS = 4000  # of a message
MOST_COMMANDS = 5  # in a message
CLEAR_CHARS = 200  # who wants everything forgotten says that and little else
SAME = 0.8  # cosine of spelling, from which two memories may say the same


@dataclass(frozen=True, slots=True)
class Remember:
    text: str


@dataclass(frozen=True, slots=True)
class Forget:
    """`text` is what about; None: everything."""

    text: str | None


Command = Remember | Forget

# The end of a sentence, but not of "Dr." and its like, nor of an initial.
_SENTENCES = re.compile(
    r"\n+|(?<=[。！？])|(?<=[!?])\s+|(?<=\.)(?<!\b[A-Z]\.)(?<!\b(?:Dr|Mr|Ms|St|vs|No)\.)(?<!\bMrs\.)\s+"
)
_POLITE = (
    r"(?:(?:please|hey|ok|okay|and|also|so|but|oh|by the way)\b[,\s]*)*(?:(?:can|could|would|will) you (?:please )?)?"
)
_ABOUT_ME = r"(?:(?:that|this)\b\s*[:,]?|[:,]|(?=(?:i|i'm|i’m|i've|i’ve|my|we|our|to)\b))"
_REMEMBERS = (
    re.compile(
        rf"{_POLITE}(?:remember|keep in mind|don['’]?t forget|do not forget)\s*{_ABOUT_ME}\s*(?P<what>.+)", re.I
    ),
    re.compile(rf"{_POLITE}(?:make a )?note (?:that )?(?P<what>(?:i|i'm|i’m|my|we|our)\b.+)", re.I),
    re.compile(
        r"(?:请|麻烦|拜托)?(?:你|您)?(?:要|帮我|给我)?"
        r"(?:记住|记得|记下|记一下|别忘了?|不要忘记?)[,，:：\s]*(?P<what>.+)"
    ),
)
_FORGETS = (
    re.compile(rf"{_POLITE}(?:forget|stop remembering|don['’]?t remember|do not remember)\b(?P<what>.+)", re.I),
    re.compile(r"(?:请|麻烦|拜托)?(?:你|您)?(?:忘掉|忘记|忘了|不要再?记住|别再?记住)(?:关于)?[,，:：\s]*(?P<what>.+)"),
    re.compile(r"(?:请|麻烦|拜托)?(?:你|您)?把(?P<what>.+?)(?:都|全)?(?:忘掉|忘记|忘了)"),
)
_EVERYTHING = re.compile(
    r"\s*(?:about )?(?:everything|all)"
    r"(?: (?:that )?you (?:know|remember|have saved)(?: (?:about|of) me)?| about me)?\s*[.!]*"
    r"|(?:你)?(?:(?:知道|记得|记住)的?)?(?:我的)?(?:关于我的?)?(?:一切|所有(?:事情?|记忆)?|全部)[。！]*",
    re.I,
)
_PARAGRAPHS = re.compile(r"\n\s*\n")
_MATERIAL = re.compile(r"^[>#]|:(?=\s|$|\W)|[：\"“”„«»‘「『`]")
_QUESTION = re.compile(r"[?？]\s*$|[吗呢么]\s*[。!！]?$")

_PREFERS = re.compile(r"\b(?:prefer|like|love|hate|dislike|enjoy|favou?rite|rather)\b|喜欢|偏好|讨厌|宁愿|最爱", re.I)
_INSTRUCTS = re.compile(
    r"^(?:to\b|always\b|never\b|don['’]?t\b|do not\b|please\b|call me\b|answer\b|reply\b|use\b|write\b|speak\b)"
    r"|^(?:请|总是|永远|不要|别|叫我|称呼我|用.+(?:回答|回复))",
    re.I,
)


def commands_in(text: str) -> tuple[Command, ...]:
    """What this message asks to be remembered or forgotten, in order."""
    own, *rest = _PARAGRAPHS.split(text[:READ_CHARS].strip(), maxsplit=1)
    is_clear = not rest and len(own) <= CLEAR_CHARS
    found = [command for command in _commands(own) if is_clear or command != Forget(None)]
    return tuple(found[:MOST_COMMANDS])


def _commands(paragraph: str) -> Iterator[Command]:
    """Until something is introduced or quoted: whose words come after that, nobody can tell."""
    for sentence in map(str.strip, filter(None, _SENTENCES.split(paragraph))):
        if (command := _command(sentence)) is not None:
            yield command
        elif _MATERIAL.search(sentence):
            return


def _command(sentence: str) -> Command | None:
    if not sentence or _QUESTION.search(sentence):
        return None
    for pattern in _REMEMBERS:
        if said := pattern.match(sentence):
            what = _trimmed(said["what"])
            return Remember(what) if words(what) and len(what) <= MEMORY_CHARS else None
    for pattern in _FORGETS:
        if said := pattern.match(sentence):
            if _EVERYTHING.fullmatch(said["what"].strip()):
                return Forget(None)
            return Forget(what) if words(what := _trimmed(said["what"])) else None
    return None


def _trimmed(text: str) -> str:
    text = text.strip().rstrip("。.!！ ").removeprefix("to ")
    return text[:1].upper() + text[1:]


def kind_of(text: str) -> MemoryKind:
    """By its wording: how to answer, what somebody likes, or how things are."""
    if _INSTRUCTS.search(text):
        return "instruction"
    return "preference" if _PREFERS.search(text) else "fact"


# -- comparing ----------------------------------------------------------------------------------------------------
_SIGNS = r"\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_SIGNS}]+|[^\W_{_SIGNS}]+")
_SAY_LITTLE = (
    "a an and any are am as at be been but by do does did for from had has have how i if in is it "
    "its just me my mine no not of on or our ours so some that the then there these this those to "
    "too us was we were what when where which who will with would you your yours s m ve re ll d t about said say says "
    "told user used like really very also now"
)
_EMPTY = frozenset(_SAY_LITTLE.split())
_EMPTY_SIGNS = frozenset("我你您他她它的了是在有和也都就这那吗呢吧不们把被叫说过")
_NOT = re.compile(r"\b(?:not|no|never|none|neither|nor|without|cannot)\b|n['’]t\b|[不没无非别莫未]", re.I)
_ENDINGS = re.compile(r"(?:ies|es|s|ing|ed|e|y)$")  # "lives", "living", "lived": live
_STEM = 6  # letters that are compared, and
SHORT = 3  # words of so many are left as they are


def words(text: str) -> frozenset[str]:
    """What a text is about: its words without those that say little, cut to their beginnings; of scripts without
    spaces, pairs of signs."""
    found: set[str] = set()
    for token in _TOKEN.findall(in_one_form(text).casefold()):
        if re.match(rf"[{_SIGNS}]", token):
            found.update(_pairs(token))
        elif token not in _EMPTY:
            found.add(_ENDINGS.sub("", token)[:_STEM] if len(token) > SHORT else token)
    return frozenset(found)


def _pairs(signs: str) -> Iterator[str]:
    run = ""
    for sign in f"{signs}了":
        if sign not in _EMPTY_SIGNS:
            run += sign
            continue
        yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)) if run)
        run = ""


def overlap(of: str, within: str) -> float:
    """How much of what the first text is about stands in the second: 0 to 1."""
    wanted = words(of)
    return len(wanted & words(within)) / len(wanted) if wanted else 0.0


def plain(text: str) -> str:
    """The text without case, spaces and signs of punctuation: two that are equal so are the same."""
    return "".join(_TOKEN.findall(in_one_form(text).casefold()))


def say_the_same(one: str, other: str) -> bool:
    """Equal as `plain`; or spelt nearly alike, about the same, with the same numbers and as many negations: "2 cats" is
    not "3 cats", and "I smoke" is not "I don't smoke"."""
    if plain(one) == plain(other):
        return True
    if sorted(re.findall(r"\d+", one)) != sorted(re.findall(r"\d+", other)):
        return False
    if len(_NOT.findall(one)) != len(_NOT.findall(other)):
        return False
    return words(one) == words(other) and cosine(lexical_vector(one), lexical_vector(other)) >= SAME


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two vectors of spelling, which have length 1."""
    return sum(map(float.__mul__, one, other))
