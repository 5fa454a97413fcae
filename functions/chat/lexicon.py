"""Finding passages by their words: BM25 (Robertson and Zaragoza 2009) over packed indexes, one for each document.

    packed = pack(texts)                      bytes, to be stored beside the chunks
    index = unpack(packed)
    rank({"document": index, …}, "how long is a lease?", limit=50)

An index knows hashes of terms and no texts: who reads it learns little. Terms are words without case and plural, whole
names of code and their parts (`PARLEY_NODE_KEY`, `node`), and in scripts without spaces each pair of signs; SQLite's
own full-text index would know none of these, is there in one store only, and would mix the statistics of all users.

The statistics are those of the documents that are searched: what is rare in one user's documents is rare. Pure.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.reading.letters import in_one_form

if TYPE_CHECKING:
    from numpy.typing import NDArray

K1, B = 1.2, 0.75  # the usual values
# Chunks that are imagined beside the real ones when a coverage is taken: where there are few, a word that all of them
# have would weigh next to nothing, and any word that they lack everything.
ELSEWHERE = 100
_STOP_WORDS = (
    "a about after all also am an and any are as at be because been before being both but by can could did do does "
    "doing each few for from had has have he her here him his how i if in into is it its just let me more most my no "
    "nor not now of off on once only or other our out over own please she should so some such tell than that the their "
    "them then there these they this those to too under until up us was we were what when where which while who whom "
    "why will with would you your anybody anyone get lot many much need somebody someone something thing"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
# Particles and question words: what they stand in is no word.
_STOP_SIGNS = frozenset("的了吗呢吧么嘛啊是在和与或及也都就把被我你您他她它们这那哪谁何怎请之而")
_ASKING_SIGNS = _STOP_SIGNS | frozenset("有多少几可以能会要应该时候")  # and in a question neither do these
_SIGNS = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_SIGNS}]+|[^\W{_SIGNS}]+(?:['’.\-][^\W{_SIGNS}]+)*")
_IS_SIGN = re.compile(rf"[{_SIGNS}]")
_PART = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_HEAD = b"PL1\0"  # of what `pack` makes; another version is read as nothing, and the document is indexed again


@dataclass(frozen=True, slots=True)
class Index:
    """Of one document: for each term (its hash), in which chunks it stands and how often; sorted by hash."""

    hashes: "NDArray[Any]"  # uint32
    chunks: "NDArray[Any]"  # uint16
    times: "NDArray[Any]"  # uint8
    lengths: "NDArray[Any]"  # uint16: terms in each chunk

    @property
    def bytes(self) -> int:
        return int(sum(part.nbytes for part in (self.hashes, self.chunks, self.times, self.lengths)))


@dataclass(frozen=True, slots=True)
class Found:
    """`coverage` is how much of the question's weight stands in the chunk, in [0, 1], and `terms` how many of its
    different terms; `score` is BM25's."""

    document_id: str
    chunk: int
    score: float
    coverage: float
    terms: int


def terms(text: str, stop_signs: frozenset[str] = _STOP_SIGNS) -> Iterator[str]:
    for token in _TOKEN.findall(in_one_form(text)):
        if _IS_SIGN.match(token):
            if len(token) == 1 and token not in stop_signs:
                yield token
            pairs = (token[at : at + 2] for at in range(len(token) - 1))
            yield from (pair for pair in pairs if not stop_signs.intersection(pair))
            continue
        whole = token.casefold()
        parts = [part.casefold() for word in _PART.findall(token) for part in _CAMEL.split(word)]
        if parts != [whole]:
            yield _stem(whole)
        yield from (_stem(part) for part in parts if part not in STOP_WORDS)


def _stem(word: str) -> str:
    """Plurals and the commonest endings only (after Harman 1991): a stem that is wrong finds what nobody asked for."""
    if len(word) < 4 or not word.isascii():
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    for ending, least in (("ing", 6), ("ed", 5), ("es", 5), ("s", 4)):
        if word.endswith(ending) and len(word) >= least and not word.endswith(("ss", "us", "is", "eed")):
            stem = word[: -len(ending)]
            if ending in ("ing", "ed") and stem[-1] == stem[-2] and stem[-1] not in "aeiouls":
                stem = stem[:-1]  # stopped, running
            return stem.removesuffix("e")
    return word.removesuffix("e") if len(word) > 4 else word


def pack(texts: Sequence[str]) -> bytes:
    """The index of a document's chunks, in their order, compressed."""
    import numpy as np  # noqa: PLC0415 (only who searches waits for it)

    rows: list[tuple[int, int, int]] = []
    lengths = []
    for number, text in enumerate(texts):
        counts = Counter(map(_hash, terms(text)))
        lengths.append(min(65_535, counts.total()))
        rows += ((term, number, min(255, times)) for term, times in counts.items())
    rows.sort()
    hashes, chunks, times = zip(*rows, strict=True) if rows else ((), (), ())
    parts = (np.array(hashes, "<u4"), np.array(chunks, "<u2"), np.array(times, "u1"), np.array(lengths, "<u2"))
    head = _HEAD + len(rows).to_bytes(4, "little") + len(texts).to_bytes(4, "little")
    return zlib.compress(head + b"".join(part.tobytes() for part in parts))


def unpack(packed: bytes) -> Index:
    """Raises ValueError for what another version has packed."""
    import numpy as np  # noqa: PLC0415

    data = zlib.decompress(packed)
    if not data.startswith(_HEAD):
        raise ValueError("packed by another version")
    rows, count = int.from_bytes(data[4:8], "little"), int.from_bytes(data[8:12], "little")
    at = 12
    hashes = np.frombuffer(data, "<u4", rows, at)
    chunks = np.frombuffer(data, "<u2", rows, at := at + 4 * rows)
    times = np.frombuffer(data, "u1", rows, at := at + 2 * rows)
    return Index(hashes, chunks, times, np.frombuffer(data, "<u2", count, at + rows))


def rank(indexes: Mapping[str, Index], question: str, *, limit: int) -> list[Found]:
    """The best chunks first; those of equal score in the order of their documents."""
    import numpy as np  # noqa: PLC0415

    asked = list(dict.fromkeys(terms(question, _ASKING_SIGNS)))
    wanted = [_hash(term) for term in asked]
    total = sum(len(index.lengths) for index in indexes.values())
    if not wanted or not total:
        return []
    average = max(1.0, sum(int(index.lengths.sum(dtype="u8")) for index in indexes.values()) / total)
    places = {name: _places(index, wanted) for name, index in indexes.items()}
    having = [sum(spans[number][1] - spans[number][0] for spans in places.values()) for number in range(len(wanted))]
    weights = [_rarity(count, total) for count in having]
    shares = [_rarity(count, total + ELSEWHERE) for count in having]
    # Of the pairs of signs that stand nowhere about half are no words, but where two words meet.
    halved = [not count and _IS_SIGN.match(term) for count, term in zip(having, asked, strict=True)]
    whole = sum(share / 2 if half else share for share, half in zip(shares, halved, strict=True))
    found = []
    for name, index in indexes.items():
        scores, covered = np.zeros(len(index.lengths)), np.zeros(len(index.lengths))
        counts = np.zeros(len(index.lengths), "u4")
        long = K1 * (1 - B + B * index.lengths / average)
        for (start, end), weight, share in zip(places[name], weights, shares, strict=True):
            if start < end:
                at, times = index.chunks[start:end], index.times[start:end].astype("f8")
                scores[at] += weight * times * (K1 + 1) / (times + long[at])
                covered[at] += share
                counts[at] += 1
        best = np.argsort(-scores, kind="stable")[:limit]
        found += [
            Found(name, int(at), float(scores[at]), float(covered[at]) / whole, int(counts[at]))
            for at in best
            if scores[at] > 0
        ]
    found.sort(key=lambda one: -one.score)
    return found[:limit]


def _rarity(having: int, total: int) -> float:
    """Robertson and Spärck Jones's weight of a term that stands in so many of all chunks."""
    return math.log(1 + (total - having + 0.5) / (having + 0.5))


def _places(index: Index, wanted: Sequence[int]) -> list[tuple[int, int]]:
    import numpy as np  # noqa: PLC0415

    keys = np.array(wanted, "<u4")
    starts = np.searchsorted(index.hashes, keys, "left")
    ends = np.searchsorted(index.hashes, keys, "right")
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def _hash(term: str) -> int:
    return zlib.crc32(term.encode("utf-8", "surrogatepass"))
