"""The output rails: text of the model goes in as it comes, text that may be shown comes out.

    rails = OutputFilter(policy, prior=text_already_released, hidden=(system_prompt,))
    for token in tokens:
        show(rails.push(token))       # '' while something may be beginning
    show(rails.finish())
    rails.verdicts, rails.blocked, rails.refusal

It promises that the text shown is the same for every way the text is cut into pieces, equal to `filter_text`, and
that nothing of what a rail redacts or blocks is shown, not even its beginning. Text is held back only while a match
may be beginning: a few characters of ordinary text, at most HOLD_BACK_CHARS. `check_text` is the same for whole texts
(titles, cache hits), `check_json` for tool calls. It knows nothing about runs, events or models.
"""

import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from functions.chat.messages import Action, Stage, Verdict
from functions.guardrails.detectors import Detectors
from functions.guardrails.leak import Hidden
from functions.guardrails.policy import HIDDEN, Language, Policy, RailAction, rail_of
from functions.guardrails.scanner import Scanner, Span

# Digests tell whether two finds are the same text without keeping it. Without a key of the operator's they compare
# within one process only.
PROCESS_KEY = secrets.token_bytes(32)

DONE: dict[RailAction, Action] = {"block": "blocked", "redact": "redacted", "flag": "flagged"}
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_HAN = re.compile("[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class TextResult:
    """A whole text after the rails. When `blocked`, `text` is only what stands before the reason."""

    text: str
    blocked: bool
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class JsonResult:
    value: Any  # JSON
    blocked: bool
    verdicts: tuple[Verdict, ...]


def language_of(text: str) -> Language:
    """The language to speak to whoever wrote this."""
    return "zh" if _HAN.search(text) else "en"


@lru_cache(maxsize=24)  # policies compare by identity: one entry a loaded policy and stage
def detectors_of(policy: Policy, stage: Stage, is_rendered: bool = True) -> tuple[Detectors | None, Detectors | None]:
    """The detectors that change the text, and those that only take note. Markup matters only in what is rendered."""
    actions = policy.stage(stage).actions
    acting = {kind for kind, action in actions.items() if action in {"block", "redact"}}
    noting = {kind for kind, action in actions.items() if action == "flag"}
    blocking = {kind for kind, action in actions.items() if action == "block"}
    built = [
        Detectors(
            kinds,
            terms=policy.terms,
            regions=policy.phone_regions,
            markup=policy.markup if is_rendered else None,
            blocking=blocking & kinds,
        )
        if kinds
        else None
        for kinds in (acting, noting)
    ]
    return built[0], built[1]


def _watching(
    policy: Policy, stage: Stage, hidden: tuple[str, ...], is_rendered: bool
) -> tuple[Detectors | None, Detectors | None]:
    """The detectors, and the hidden texts with those that do what the policy says about them."""
    acting, noting = detectors_of(policy, stage, is_rendered)
    action = policy.stage(stage).actions.get(HIDDEN, "off")
    if action == "off" or not hidden or not (texts := Hidden.of(hidden)):
        return acting, noting
    if action == "flag":
        return acting, noting and noting.with_hidden(texts)
    return acting and acting.with_hidden(texts), noting


class OutputFilter:
    """The rails of one text. Not for two threads at once; a policy's compiled rails are shared by all filters.

    `prior` is the text already released of a run that is being continued: left context for what comes, and the
    origin of the offsets in the verdicts. `hidden` are the texts that must not be repeated, and `is_rendered` says that
    somebody may render the text as Markdown. `language` is that of the messages; by default that of the text.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        prior: str = "",
        hidden: Sequence[str] = (),
        stage: Stage = "output",
        key: bytes = PROCESS_KEY,
        language: Language | None = None,
        is_rendered: bool = True,
        goes_on: bool = False,  # past what blocks: for whole texts, where the caller decides
    ) -> None:
        acting, noting = _watching(policy, stage, tuple(hidden), is_rendered)
        self._policy, self._stage, self._language = policy, stage, language
        self._acts = Scanner(acting, key=key, prior=prior, goes_on=goes_on) if acting else None
        self._notes = Scanner(noting, key=key, prior=prior) if noting else None
        self._has_han = language is None and language_of(prior) == "zh"
        self._passed = len(prior)
        self.verdicts: list[Verdict] = []
        self.blocked = False

    @property
    def refusal(self) -> str:
        """What to show when the text was blocked."""
        return self.verdicts[-1].message if self.blocked else ""

    @property
    def settled(self) -> int:
        """Everything before this offset of the raw text is shown or redacted."""
        return self._acts.settled if self._acts else self._passed

    @property
    def held(self) -> int:
        """How much raw text is kept in memory. What is being dropped is not kept."""
        return max((scanner.held for scanner in (self._acts, self._notes) if scanner), default=0)

    def push(self, text: str) -> str:
        """What may be shown now, possibly ''."""
        if self.blocked:
            return ""
        if not text.isascii() and not self._has_han and self._language is None:
            self._has_han = language_of(text) == "zh"
        if self._notes is not None:
            self._notes.feed(text)
        self._passed += len(text)
        shown = self._acts.feed(text) if self._acts is not None else text
        self._note()
        return shown

    def finish(self) -> str:
        """The rest. The text is complete."""
        if self._notes is not None and not self.blocked:
            self._notes.finish()
        shown = self._acts.finish() if self._acts is not None else ""
        self._note()
        return shown

    def _note(self) -> None:
        """Turn new finds into verdicts. The one that blocks is the last."""
        noted, acted = self._notes, self._acts
        if acted is not None and acted.blocked and not self.blocked:
            self.blocked = True
            if noted is not None:
                noted.found = [span for span in noted.found if span.start < acted.found[-1].start]
        if noted is not None and noted.found:
            self._record(noted.found)
        if acted is not None and acted.found:
            self._record(acted.found)

    def _record(self, found: list[Span]) -> None:
        actions = self._policy.stage(self._stage).actions
        language = self._language or ("zh" if self._has_han else "en")
        for span in found:
            rail = rail_of(span.kind)
            self.verdicts.append(
                Verdict(
                    stage=self._stage,
                    rail=rail,
                    action=DONE[actions[span.kind]],
                    message=self._policy.message(rail, language),
                    policy=self._policy.version,
                    start=span.start,
                    end=span.end,
                    digest=span.digest,
                    score=span.score,
                )
            )
        found.clear()


def check_text(
    policy: Policy,
    text: str,
    *,
    stage: Stage = "output",
    hidden: Sequence[str] = (),
    is_rendered: bool = True,
    key: bytes = PROCESS_KEY,
) -> TextResult:
    """The rails on a whole text. For the output stage: what a stream of it would have shown."""
    rails = OutputFilter(
        policy, stage=stage, hidden=hidden, key=key, language=language_of(text), is_rendered=is_rendered
    )
    shown = rails.push(text) + rails.finish()
    return TextResult(shown, rails.blocked, tuple(rails.verdicts))


def check_input(policy: Policy, text: str, *, key: bytes = PROCESS_KEY) -> TextResult:
    """The rails on what a user wrote. Unlike a stream it is whole: the text around a blocking find is kept, for the
    user's own history, and every find is replaced."""
    rails = OutputFilter(policy, stage="input", key=key, language=language_of(text), goes_on=True)
    shown = rails.push(text) + rails.finish()
    verdicts = sorted(rails.verdicts, key=lambda verdict: verdict.action == "blocked")
    return TextResult(shown, any(verdict.action == "blocked" for verdict in verdicts), tuple(verdicts))


def check_json(
    policy: Policy, value: Any, *, stage: Stage = "output", hidden: Sequence[str] = (), key: bytes = PROCESS_KEY
) -> JsonResult:
    """The rails on every string and number of a JSON value, such as tool calls. Strings that hold JSON themselves (the
    arguments of a call) are opened, so that an escape cannot hide anything and a redaction cannot break them. Nobody
    renders it, so an address with a query stays what it is."""
    verdicts: list[Verdict] = []

    def check(text: str) -> str:
        result = check_text(policy, text, stage=stage, hidden=hidden, is_rendered=False, key=key)
        verdicts.extend(result.verdicts)
        return result.text

    changed = _checked(value, check)
    return JsonResult(changed, any(verdict.action == "blocked" for verdict in verdicts), tuple(verdicts))


def _checked(value: Any, check: Callable[[str], str]) -> Any:
    match value:
        case str():
            return _checked_string(value, check)
        case list() | tuple():
            return [_checked(item, check) for item in value]
        case dict():
            return {check(name): _checked(item, check) for name, item in value.items()}
        case int() | float() if not isinstance(value, bool):
            written = str(value)
            return value if (shown := check(written)) == written else shown
        case _:
            return value


def _checked_string(text: str, check: Callable[[str], str]) -> str:
    if text.lstrip()[:1] in {"{", "[", '"'}:
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            # No JSON, or cut off. An escape in it can still be read by whoever mends it.
            opened = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
            return check(text) if check(opened) == opened else check(opened)
        changed = _checked(inner, check)
        # As it stands it may say more than its value, e.g. a name twice.
        return check(text) if changed == inner else json.dumps(changed, ensure_ascii=False)
    return check(text)


def filter_text(policy: Policy, text: str) -> str:
    """What a stream of `text` shows, however it is cut."""
    return check_text(policy, text).text
