"""Whether two questions ask the same thing, as far as spelling can tell: the exact guard behind the semantic cache.

    agree("Is 5 km far?", "is five kilometres far")    True: nothing that decides differs
    agree("Is 5 km far?", "Is 5 miles far?")           False
    repeats("How far is it?", "how far is it, please") True: the same words in the same order

Vectors put a question beside its opposite: to them "with" and "without", 5 and 50, or two names that changed places
are nearly nothing. So what decides is taken out of both and must be equal, in order: numbers, units, negations, words
of direction and comparison, what is asked for (who, when, where, how many), the form and language of the answer, what
is quoted, code, and names. Whatever else both say stands in the same order, and neither says all that the other does
and more. In Chinese and other scripts without capitals or spaces nobody can tell a name from a word, so there the signs
that carry meaning must be the same as well. What is left to the vectors is a common word in another's place: egg and
potato, flu and covid.

It errs towards no: a wrong no costs one answer, a wrong yes is a wrong answer. Pure; English and Chinese.
"""

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from functions.chat.messages import Struct

_SIGN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af"
_GAP = re.compile(rf"(?<=[{_SIGN}])\s+(?=[{_SIGN}])")
_HAS_SIGNS = re.compile(f"[{_SIGN}]")
STEM = 3  # letters that are left alone
_QUOTED = re.compile(
    r"```.*?```|`[^`]+`|\"[^\"]+\"|“[^”]+”|‘[^’]+’|「[^」]+」|『[^』]+』|《[^》]+》|(?<!\w)'[^']+'(?!\w)", re.DOTALL
)
# Begins where a word or a path does and nowhere within, and does not go back into it: one of two thousand letters took
# five seconds.
_CODE = re.compile(
    r"https?://\S+|(?<![\w.+-])[\w.+-]++@[\w.-]+\w|(?<![\w./\\-])(?:[\w.-]*+[/\\])+[\w.-]+|\b[A-Z0-9_]*+[a-z]\w*_\w+|\b\w++\(\)"
    r"|\b\w*[a-z][A-Z]\w*|\b\w++(?:\.\w++)+|\b(?=\w*[A-Za-z])(?=\w*\d)\w+|[A-Za-z][+#]+|[=<>!+*/^|&~$€£¥%{}\[\]\\-]+",
    re.ASCII,
)
_WORD = re.compile(rf"\d+(?:[.,]\d+)*|[{_SIGN}]|[^\W\d_{_SIGN}]+(?:['’][^\W\d_{_SIGN}]+)?")


def _classes(lines: Sequence[str]) -> dict[str, str]:
    """Word to class: the first word of each line, which is one class."""
    return {word: line.split()[0] for line in lines for word in line.split()}


_WORDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_UNITS, _TELLING, _NUMBERS = (_classes(_WORDS[name]) for name in ("units", "telling", "numbers"))
_NEGATIONS = frozenset([*_classes(_WORDS["negations"]), *_WORDS["negation_signs"]])
_STOP_SIGNS, _STOP_WORDS = frozenset(_WORDS["stop_signs"]), frozenset(_WORDS["stop_words"].split())
_A_NOT_A = re.compile(rf"([{_SIGN}])[不没]\1")  # 能不能, 是不是: a question, no negation
_FILLERS = re.compile(
    r"\b(?:please|pls|kindly|hi|hello|hey|thanks|thank you|(?:can|could|would|will) you(?: please)?|tell me|"
    r"i(?:'d| would) like to know|i want to know|do you know|let me know|just)\b"
    r"|请问一下|请问|请你|请帮我|请|帮我|帮忙|麻烦你|麻烦|你好|您好|谢谢|我想知道|想问一下|告诉我|能不能|可不可以|一下|吗|呢|吧|啊|呀|嘛",
)
_CONTRACTIONS = (
    ("can't", "can not"),
    ("won't", "will not"),
    ("cannot", "can not"),
    ("n't", " not"),
    ("'s ", " is "),
    ("'re ", " are "),
    ("what's", "what is"),
)
_TIMELY = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|now|currently|current|latest|recent|recently|this (?:week|month|year|"
    r"morning|evening)|(?:last|next) (?:week|month|year|night)|what time|weather|news|stock price|exchange rate)\b"
    r"|今天|今晚|今早|明天|后天|昨天|现在|目前|当前|最新|最近|近期|刚才|这周|本周|这个月|本月|今年|明年|去年|上周|下周|上个月|下个月|几点了|天气|新闻|股价|汇率"
)
_PERSONAL = re.compile(r"\b(?:i|i'm|i've|i'd|i'll|me|my|mine|myself|we|us|our|ours)\b|[我俺咱]|本人")


class Essence(Struct, frozen=True, kw_only=True):
    """What decides what a text asks. Names and words are in lower case; `words` is all of it but politeness."""

    numbers: tuple[str, ...]
    units: tuple[str, ...]
    negations: int
    telling: tuple[str, ...]
    quoted: tuple[str, ...]
    code: tuple[str, ...]
    names: tuple[str, ...]
    words: tuple[str, ...]
    content: tuple[str, ...]
    signs: frozenset[str]
    has_signs: bool


def agree(one: str, other: str, *, in_order: bool = True) -> bool:
    """Nothing that decides differs. Without `in_order` it may stand in another order: then things that have changed
    places are overlooked."""
    a, b = essence(one), essence(other)
    if (a.negations, a.signs, a.has_signs) != (b.negations, b.signs, b.has_signs):
        return False
    names = {*a.names, *b.names}  # what is one in either: many people write no capitals
    parts = (
        (a.numbers, b.numbers),
        (a.units, b.units),
        (a.quoted, b.quoted),
        (a.code, b.code),
        (_only(names, a.words), _only(names, b.words)),
    )
    if any(Counter(left) != Counter(right) for left, right in (*parts, (a.telling, b.telling))):
        return False
    return not in_order or (
        all(left == right for left, right in parts)
        and _only({*b.content}, a.content) == _only({*a.content}, b.content)
        # One that says the same and more asks for something narrower.
        and not ({*a.content} < {*b.content} or {*b.content} < {*a.content})
    )


def _only(wanted: set[str], words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word in wanted)


def repeats(one: str, other: str) -> bool:
    """The same words in the same order, but for case, punctuation and politeness."""
    a, b = essence(one), essence(other)
    return a.words == b.words and a.code == b.code and a.quoted == b.quoted


def plain(text: str) -> str:
    """Without case and politeness."""
    return _GAP.sub("", _FILLERS.sub(" ", _folded(text)))


def is_timely(text: str) -> bool:
    """The right answer changes with the day."""
    return bool(_TIMELY.search(_folded(text)))


def is_personal(text: str) -> bool:
    """It speaks of whoever asks."""
    return bool(_PERSONAL.search(_folded(text)))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("’", "'")


@lru_cache(maxsize=256)
def essence(text: str) -> Essence:
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    quoted = tuple(" ".join(found.strip("`\"“”‘’「」『』《》'").split()).casefold() for found in _QUOTED.findall(text))
    rest = _QUOTED.sub(" ", text)
    code = tuple(found.rstrip(".") for found in _CODE.findall(rest))
    rest = _CODE.sub(" ", rest)
    names = _names(rest)
    rest = _FILLERS.sub(" ", _spelt_out(rest.casefold()))
    words = tuple(_WORD.findall(_A_NOT_A.sub(r"\1", rest)))
    everything = _WORD.findall(
        _A_NOT_A.sub(r"\1", _FILLERS.sub(" ", _spelt_out(_folded(text))))
    )  # with what is quoted, and code
    has_signs = any(map(_HAS_SIGNS.match, words))
    return Essence(
        numbers=tuple(number for word in words if (number := _number(word)) is not None),
        units=tuple(_UNITS[word] for word in words if word in _UNITS),
        negations=sum(word in _NEGATIONS for word in words),
        telling=tuple(_TELLING[word] for word in words if word in _TELLING),
        quoted=quoted,
        code=code,
        names=tuple(word for word in words if word.isascii() and word.isalpha()) if has_signs else names,
        words=words,
        content=tuple(_stem(word) for word in everything if word not in _STOP_WORDS and word not in _STOP_SIGNS),
        signs=frozenset(word for word in words if _HAS_SIGNS.match(word) and word not in _STOP_SIGNS),
        has_signs=has_signs,
    )


def _spelt_out(text: str) -> str:
    text = f"{text} "
    for short, long in _CONTRACTIONS:
        text = text.replace(short, long)
    return text


def _stem(word: str) -> str:
    """Of one and of several, about."""
    return word[:-1] if len(word) > STEM and word.endswith("s") and not word.endswith("ss") else word


def _number(word: str) -> str | None:
    if word[0].isdigit():
        return word.replace(",", "").rstrip(".")
    return _NUMBERS.get(word)


def _names(text: str) -> tuple[str, ...]:
    """Words with a capital that does not stand at a beginning, and `I` is none."""
    found = []
    begins = True
    for match in re.finditer(r"[.!?:\n]|[^\W\d_]+", text):
        word = match.group()
        if not word[0].isalpha():
            begins = True
            continue
        if word[0].isupper() and word != "I" and (not begins or (word.isupper() and len(word) > 1)):
            found.append(word.casefold())
        begins = False
    return tuple(found)
