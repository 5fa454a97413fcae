"""How much a text looks like an attempt to talk a model out of its instructions: a score, with reasons.

    found = load_rules().score(text)
    found.value        # 0 … 1
    found.reasons      # ("asks to set earlier instructions aside", …), strongest first

Transparent rules, not a classifier: injection.toml lists words and short sequences of them, each with a weight and a
reason. One pass (Aho-Corasick) finds the words; a rule has matched when its words come in order, close together. The
strongest rule of each group counts, and groups add up as independent evidence: 1 - (1-a)(1-b)… So a single suspicion
stays low, and a text that claims a role, lifts all rules and forbids refusals does not.

What is hidden is read as well: invisible and look-alike characters are folded, letters that were set apart are joined,
Base64, hexadecimal, binary and tag characters are decoded once. It promises the same score for the same text, and no
more than a few microseconds a line. It sees wording only: a polite attack in fresh words scores 0.
"""

import base64
import binascii
import re
import tomllib
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ahocorasick

from functions.guardrails.view import letters_of, one_to_one, view_of

RULES = Path(__file__).with_name("injection.toml")
_DECODED_CHARS = 4096  # of hidden text, at most
_JOINED_CHARS = 5  # a shorter word stands inside others by chance

_APOSTROPHE = re.compile("['’‘`´]")
_WIDE = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7ff"  # scripts without spaces between words, and Korean
_TOKEN = re.compile(rf"[{_WIDE}]+|[^\W_{_WIDE}]+|[^\w\s]")
_BETWEEN_WIDE = re.compile(f"(?<=[{_WIDE}])[ *_-]+(?=[{_WIDE}])")
_SPELLED = re.compile(r"(?<![^\W_])(?:[^\W\d_][ .\-_*|/]){5,}[^\W\d_](?![^\W_])")

_BASE64 = re.compile(r"(?<![0-9A-Za-z+/])[0-9A-Za-z+/]{16,}={0,2}(?![0-9A-Za-z+/])")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}[ :]?){12,}(?![0-9A-Za-z])")
_BINARY = re.compile(r"(?<![0-9])(?:[01]{8}[ ,]?){6,}(?![0-9])")
_TAGS = re.compile("[\U000e0020-\U000e007e]+")


@dataclass(frozen=True, slots=True)
class Score:
    value: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """Words in order, each at most `within` characters after the one before."""

    group: str
    words: tuple[frozenset[str], ...]
    within: int
    weight: float
    why: str

    def matches(self, places: dict[str, list[tuple[int, int]]]) -> bool:
        """`places` says for each word where it stands: (start, end)."""
        if any(words.isdisjoint(places) for words in self.words):  # nearly always
            return False
        ends = sorted(end for word in self.words[0] for _, end in places.get(word, ()))
        for words in self.words[1:]:
            found = [place for word in words for place in places.get(word, ())]
            ends = sorted(end for start, end in found if _is_near(ends, start, self.within))
        return bool(ends)


def _is_near(ends: list[int], start: int, within: int) -> bool:
    """One of the sorted `ends` lies before `start`, but not too far. A search, for texts of one word repeated."""
    place = bisect_right(ends, start)
    return place > 0 and start - ends[place - 1] <= within


class Rules:
    """The rules, compiled. Immutable, shared by all threads."""

    def __init__(self, words: dict[str, list[str]], rules: list[Rule]) -> None:
        self.rules = rules
        self._trie, self._joined = ahocorasick.Automaton(), ahocorasick.Automaton()
        meanings: dict[str, set[str]] = defaultdict(set)
        for word, phrases in words.items():
            for phrase in phrases:
                meanings[_bounded(_plain(phrase.removesuffix("*")), goes_on=phrase.endswith("*"))].add(word)
        for phrase, mine in meanings.items():
            size = len(phrase.rstrip())
            self._trie.add_word(phrase, (len(phrase) - 1 - phrase.count(" ", 0, 1), len(phrase) - size, tuple(mine)))
            if len(joined := phrase.replace(" ", "")) >= _JOINED_CHARS:
                self._joined.add_word(joined, (len(joined) - 1, 0, tuple(mine)))
        self._trie.make_automaton()
        self._joined.make_automaton()

    def score(self, text: str) -> Score:
        weights: dict[str, tuple[float, str]] = {}
        for reading in _readings(text):
            why_hidden, places = reading.why, self._places(reading)
            for rule in self.rules:
                if rule.weight > weights.get(rule.group, (0.0, ""))[0] and rule.matches(places):
                    weights[rule.group] = (rule.weight, rule.why)
                    if why_hidden:
                        weights["hidden"] = (0.5, why_hidden)
        doubt = 1.0
        for weight, _ in weights.values():
            doubt *= 1 - weight
        strongest = sorted(weights.values(), reverse=True)
        return Score(round(1 - doubt, 3), tuple(why for _, why in strongest))

    def _places(self, reading: "_Reading") -> dict[str, list[tuple[int, int]]]:
        places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        trie = self._joined if reading.is_joined else self._trie
        for last, (before, after, words) in trie.iter(f" {reading.plain} "):
            for word in words:
                places[word].append((last - before, last + 1 - after))
        return places


def _plain(text: str) -> str:
    """Small letters, look-alikes folded, one space around words and signs, none between Chinese characters."""
    view = one_to_one(text)
    text = _APOSTROPHE.sub("", letters_of(view_of(text)[0] if view is None else view))
    if not text.isascii():
        text = _BETWEEN_WIDE.sub("", text)
    return " ".join(_TOKEN.findall(text))


def _bounded(phrase: str, *, goes_on: bool) -> str:
    """With spaces where a whole word must begin or end."""
    left, right = ("" if re.match(f"[{_WIDE}]", char) else " " for char in (phrase[0], phrase[-1]))
    return left + phrase + ("" if goes_on else right)


@dataclass(frozen=True, slots=True)
class _Reading:
    plain: str
    why: str = ""  # to distrust it
    is_joined: bool = False  # one knows no more where words end


def _readings(text: str) -> list[_Reading]:
    """The text as it reads, and what is hidden in it."""
    readings = [_Reading(_plain(text))]
    if spelled := [re.sub(r"[ .\-_*|/]", "", match[0]) for match in _SPELLED.finditer(text)]:
        readings.append(_Reading(_plain(" ".join(spelled)), "spells words out, letter by letter", is_joined=True))
    hidden = [
        *map(_base64, _BASE64.findall(text)),
        *map(_hex, _HEX.findall(text)),
        *map(_binary, _BINARY.findall(text)),
    ]
    hidden += ["".join(chr(ord(char) - 0xE0000) for char in tags) for tags in _TAGS.findall(text)]
    if found := " ".join(filter(None, hidden))[:_DECODED_CHARS]:
        readings.append(_Reading(_plain(found), "hides instructions in an encoding"))
    return readings


def _base64(found: str) -> str:
    try:
        return _readable(base64.b64decode(found + "=" * (-len(found) % 4), validate=True))
    except (binascii.Error, ValueError):
        return ""


def _hex(found: str) -> str:
    digits = re.sub("[ :]", "", found)
    return _readable(bytes.fromhex(digits[: len(digits) // 2 * 2]))


def _binary(found: str) -> str:
    return _readable(bytes(int(bits, 2) for bits in re.findall("[01]{8}", found)))


def _readable(data: bytes) -> str:
    """Text, or '' for what is only data."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() or "\n" in text else ""


@cache
def load_rules(path: Path = RULES) -> Rules:
    """The rules that ship. Compiled once a process, in some ten milliseconds."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    rules = [
        Rule(
            rule["group"],
            tuple(frozenset(words.split("|")) for words in rule["all"]),
            rule.get("within", 0),
            rule["weight"],
            rule["why"],
        )
        for rule in data["rule"]
    ]
    return Rules(data["words"], rules)
