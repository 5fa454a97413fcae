"""A guard model's judgement: what it is asked, what its answer means, and what the policy makes of that.

    questions = [ask_about(window) for window in windows(text)]       # chat messages, one conversation a window
    judgements = [read(answer) for answer in answers]                 # None: that is no judgement
    verdict = verdict_of(policy, "input", judgements, text, …)        # None: nothing to note

Written for Qwen3Guard-Gen's chat template and output (its model card, and https://github.com/QwenLM/Qwen3Guard): a
conversation that ends with the user's message judges the question, one that ends with the assistant's the answer, and
the model writes

    Safety: Safe | Unsafe | Controversial
    Categories: Violent, Jailbreak | None
    Refusal: Yes | No                             (of answers)

Promises: windows overlap, so that nothing of up to OVERLAP_CHARS stands at a seam only; a text cannot end the
conversation that it is quoted in; no word of the model's goes any further than a known name. Pure: no I/O, no clock.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from functions.chat.messages import Sampling, Stage, Verdict
from functions.guardrails.policy import UNJUDGED, Language, ModerationPolicy, Policy, RailAction
from functions.guardrails.scanner import digest_of
from functions.guardrails.stream import DONE
from functions.reading.letters import in_one_form

Safety = Literal["Safe", "Controversial", "Unsafe"]

# A byte is a token at most. With the template (some 900 tokens) and the question this is within 8,192 of context; and
# one bad sentence among many good ones is found more surely in a short text.
WINDOW_BYTES = 4096
QUESTION_BYTES = 2048  # what an answer is judged with: the end of the question, where the asking mostly is
OVERLAP_CHARS = 256
ANSWER_TOKENS = 64
SAMPLING = Sampling(temperature=0, max_tokens=ANSWER_TOKENS)

_HARMS = {
    "Violent": "violence",
    "Non-violent Illegal Acts": "illegal_acts",
    "Sexual Content or Sexual Acts": "sexual",
    "PII": "personal_data",
    "Personally Identifiable Information": "personal_data",
    "Suicide & Self-Harm": "self_harm",
    "Unethical Acts": "unethical",
    "Politically Sensitive Topics": "politics",
    "Copyright Violation": "copyright",
    "Jailbreak": "jailbreak",
}
_LABELS = (["Safety", "Categories"], ["Safety", "Categories", "Refusal"])
_SCORES: dict[Safety, float] = {"Safe": 0.0, "Controversial": 0.5, "Unsafe": 1.0}
_STRENGTH: tuple[RailAction, ...] = ("off", "flag", "redact", "block")
# What the chat template and its tokenizer give a meaning: <|im_end|>, </think>, <END CONVERSATION>.
_CONTROL = re.compile(r"<(?=\||\s*/?\s*(?:think|begin|end)\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Judgement:
    safety: Safety
    harms: tuple[str, ...] = ()  # of policy.HARMS
    is_refusal: bool = False  # the answer says no


# -- what is asked -------------------------------------------------------------------------------------------------


def windows(text: str) -> Iterator[str]:
    """The text as a guard model should read it, in pieces of at most WINDOW_BYTES; none of nothing."""
    seen = _seen(text)
    start, end = 0, 0
    while end < len(seen):
        end = start + len(_first_bytes(seen[start:], WINDOW_BYTES))
        if seen[start:end].strip():
            yield seen[start:end]
        start = end - OVERLAP_CHARS


def ask_about(window: str, question: str | None = None) -> list[dict[str, str]]:
    """The conversation that makes the guard model judge a window: what a user wrote, or with `question` a piece of the
    answer to it."""
    if question is None:
        return [{"role": "user", "content": window}]
    asked = _first_bytes(_seen(question)[::-1], QUESTION_BYTES)[::-1]
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": window}]


def _seen(text: str) -> str:
    """As a reader sees it: one form of each letter and nothing invisible between them, which splits words only for a
    tokenizer. A space takes the meaning from whatever the template would obey."""
    plain = "".join(char for char in in_one_form(text) if unicodedata.category(char) != "Cf")
    return _CONTROL.sub("< ", plain)


def _first_bytes(text: str, most: int) -> str:
    head = text[:most].encode(errors="replace")[:most]  # a lone surrogate is one character, and so is "?"
    return text[: len(head.decode(errors="ignore"))]


# -- what it says --------------------------------------------------------------------------------------------------


def read(answer: str) -> Judgement | None:
    """The model's judgement; None for anything but the form above, to the letter. Categories count only on their own
    line: a model that quotes what it judges must not name them by accident."""
    pairs = [line.split(":", 1) for line in answer.strip().splitlines()]
    if [pair[0] for pair in pairs] not in _LABELS or any(len(pair) < 2 for pair in pairs):
        return None
    safety, categories, *refusal = (pair[1].strip() for pair in pairs)
    names = [] if categories == "None" else [name.strip() for name in categories.split(",")]
    if safety not in _SCORES or any(name not in _HARMS for name in names) or refusal not in ([], ["Yes"], ["No"]):
        return None
    if safety == "Safe" and names:
        return None  # it contradicts itself
    return Judgement(safety, tuple(dict.fromkeys(_HARMS[name] for name in names)), refusal == ["Yes"])


# -- what follows --------------------------------------------------------------------------------------------------


def verdict_of(
    policy: Policy,
    stage: Stage,
    judgements: Sequence[Judgement | None],
    text: str,
    *,
    start: int,
    language: Language,
    key: bytes,
) -> Verdict | None:
    """What the policy does about `text`, which begins at `start` of what was judged in all, going by the judgements of
    its windows; None: nothing. The worst one counts, and one that could not be had counts as the rail's `fail` says."""
    rules = policy.moderation
    wanted = {judgement: _action(rules, stage, judgement) for judgement in judgements}
    worst = max(wanted, key=lambda judgement: (_STRENGTH.index(wanted[judgement]), _score(judgement)), default=None)
    if not wanted or wanted[worst] == "off":
        return None
    return Verdict(
        stage=stage,
        rail=_rail(worst),
        action=DONE[wanted[worst]],
        message=policy.message("moderation" if worst else UNJUDGED, language),
        policy=policy.version,
        start=start,
        end=start + len(text),
        digest=digest_of(text, key),
        score=_score(worst),
    )


def _action(rules: ModerationPolicy, stage: Stage, judgement: Judgement | None) -> RailAction:
    most = rules.input if stage == "input" else rules.output
    if judgement is None:
        return most if rules.fail == "closed" else _weaker(most, "flag")
    if judgement.safety == "Safe" or (judgement.harms and set(judgement.harms) <= set(rules.ignored)):
        return "off"
    return most if judgement.safety == "Unsafe" else _weaker(most, rules.controversial)


def _weaker(one: RailAction, other: RailAction) -> RailAction:
    return min(one, other, key=_STRENGTH.index)


def _score(judgement: Judgement | None) -> float:
    return _SCORES[judgement.safety] if judgement else 0.0


def _rail(judgement: Judgement | None) -> str:
    """`moderation.violence`; `moderation.violence+jailbreak` for both; `moderation.unjudged` when nothing was said."""
    harms = judgement.harms if judgement else (UNJUDGED,)
    return ".".join(["moderation", *(["+".join(harms)] if harms else [])])
