"""The input rails: guardrails-ai validators around our detectors, and the operator's own, composed in one Guard.

    guard = build_input_guard(policy)     # once a process: it imports guardrails-ai, which takes about a second
    result = guard.check(text)            # about a millisecond of CPU; from any thread

    guard = build_window_guard(policy)    # the operator's own validators on finished windows of an answer

It promises that nothing leaves the process or is written down: the library's telemetry, tracing and history are off
(`_quiet_library` says how and why), and no text of one caller can appear in the result of another: a call has
its Guard to itself, and its finds travel in its own metadata. The Guard only ever validates whole texts; streams are
stream.py's. The operator's validators come last, and see what the others left.
"""

import importlib
import logging
import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, get_args

from functions.chat.messages import Stage, Verdict
from functions.guardrails.custom import custom_rails
from functions.guardrails.finds import FINDS, Finds, note, once
from functions.guardrails.injection import load_rules
from functions.guardrails.policy import Policy
from functions.guardrails.stream import PROCESS_KEY, check_input, detectors_of, language_of

_logger = logging.getLogger("parley")


@dataclass(frozen=True, slots=True)
class InputResult:
    """What may be stored and sent to the model. When `blocked`, the last verdict says why."""

    text: str
    blocked: bool
    verdicts: tuple[Verdict, ...]


class InputGuard:
    """One Guard, and another one for each call that comes while all are busy: none is ever in two calls.

    Guards keep state of the running call on themselves, so sharing one mixes texts; a lock would make the event loop
    wait for a thread. Later Guards cost some 20 ms once and are kept.
    """

    def __init__(
        self,
        build: Callable[[], Any],  # guardrails.Guard; its types are loose
        validators: Sequence[Any] = (),  # those of every Guard, when they keep no state and may be asked first
    ) -> None:
        self._build = build
        self._idle = deque([build()])
        self._validators = validators

    @property
    def is_ready(self) -> bool:
        """Whether a check takes about a millisecond."""
        return True

    def check(self, text: str) -> InputResult:
        if not text:
            return InputResult(text, False, ())
        finds = Finds()
        # When every validator passes, the Guard would give the text back as it is; and what it does around them costs
        # twenty times as much as they do.
        if self._validators and all(
            validator.validate(text, {FINDS: finds}).outcome == "pass" for validator in self._validators
        ):
            return _result(text, finds)
        finds = Finds(answers=finds.answers)
        outcome = self._validate(text, finds)
        # A validator that did not come from us says no without a find of its own: the text stays here.
        passed = outcome.validation_passed and isinstance(outcome.validated_output, str)
        return _result(outcome.validated_output if passed else text, finds, refused=not passed)

    def _validate(self, text: str, finds: Finds) -> Any:  # guardrails.ValidationOutcome
        try:
            guard = self._idle.pop()  # atomic: two threads never get the same
        except IndexError:
            guard = self._build()
        try:
            return guard.validate(text, metadata={FINDS: finds})
        finally:
            guard.history.clear()  # it would keep the text, and everything else of the call
            self._idle.append(guard)


class LateGuard(InputGuard):
    """One that is built when it is asked first, or by `ready`: for processes that start often and check seldom."""

    def __init__(self, make: Callable[[], InputGuard]) -> None:  # nothing of the base's: it has none of its own
        self._make, self._turn = make, threading.Lock()
        self._made: InputGuard | None = None

    @property
    def is_ready(self) -> bool:
        return self._made is not None

    def ready(self) -> InputGuard:
        """From any thread; whoever comes while it is built waits."""
        with self._turn:
            self._made = self._made or self._make()
            return self._made

    def check(self, text: str) -> InputResult:
        return (self._made or self.ready()).check(text)


def _result(text: str, finds: Finds, *, refused: bool = False) -> InputResult:
    """The verdict that blocked is the last."""
    finds.verdicts.sort(key=lambda verdict: verdict.action == "blocked")
    return InputResult(text, finds.blocked or refused, tuple(finds.verdicts))


def build_input_guard(policy: Policy, *, key: bytes = PROCESS_KEY) -> InputGuard:
    """Import guardrails-ai, quietly, and compose the Guard. Slow: call it at start-up. `key` is for the digests.

    Says which rails the policy has turned off. Raises PolicyError when a rail of the operator's own cannot be loaded.
    """
    for warning in policy.warnings:
        _logger.warning("policy.rail_off", extra={"fields": {"rail": warning, "policy": policy.version}})
    for stage in get_args(Stage):
        detectors_of(policy, stage)  # compiled once a process: not in the first message
    if _scores(policy):
        load_rules()
    library = _quiet_library()
    return _guard(
        library, "parley-input", [*_compose(library, policy, key), *custom_rails(library, policy, "input", key)]
    )


def build_window_guard(policy: Policy, *, key: bytes = PROCESS_KEY) -> InputGuard | None:
    """The operator's own rails for finished windows of an answer; None when the policy has none. A window is a stretch
    of text that is complete in itself, such as a sentence or the whole answer. Raises PolicyError, as above."""
    if all(rail.output == "off" for rail in policy.custom):
        return None
    library = _quiet_library()
    return _guard(library, "parley-window", custom_rails(library, policy, "output", key))


def _guard(library: ModuleType, name: str, validators: list[Any]) -> InputGuard:  # guardrails.Validator
    def build() -> Any:
        guard = library.Guard(name=name, history_max_length=1, use_server=False)
        guard.configure(allow_metrics_collection=False)
        return guard.use(*validators)

    return InputGuard(build, validators)


def _compose(library: ModuleType, policy: Policy, key: bytes) -> list[Any]:  # guardrails.Validator
    """The validators, in order; each sees what the one before it left of the text."""

    @library.register_validator(name="parley/length", data_type="string")
    class Length(library.Validator):  # type: ignore[misc, name-defined]
        def _validate(self, value: str, metadata: dict[str, Any]) -> Any:
            return _answer(library, value, value, metadata, *_too_long(policy, value))

    @library.register_validator(name="parley/rails", data_type="string")
    class Rails(library.Validator):  # type: ignore[misc, name-defined]
        """Personal data, secrets and banned terms in one pass: overlapping finds become one span."""

        def _validate(self, value: str, metadata: dict[str, Any]) -> Any:
            result = once(metadata, "rails", value, lambda text: check_input(policy, text, key=key))
            return _answer(library, value, result.text, metadata, result.blocked, result.verdicts)

    @library.register_validator(name="parley/injection", data_type="string")
    class Injection(library.Validator):  # type: ignore[misc, name-defined]
        def _validate(self, value: str, metadata: dict[str, Any]) -> Any:
            return _answer(
                library,
                value,
                value,
                metadata,
                *once(metadata, "injection", value, lambda text: _injected(policy, text)),
            )

    fix = library.OnFailAction.FIX
    return [Length(on_fail=fix), *([Injection(on_fail=fix)] if _scores(policy) else []), Rails(on_fail=fix)]


def _answer(
    library: ModuleType, text: str, fixed: str, metadata: dict[str, Any], blocked: bool, verdicts: tuple[Verdict, ...]
) -> Any:  # guardrails.validators' PassResult or FailResult
    note(metadata, verdicts, blocked)
    types = library.validator_base
    if fixed == text:
        return types.PassResult()
    return types.FailResult(error_message="changed by a rail", fix_value=fixed)


def _too_long(policy: Policy, text: str) -> tuple[bool, tuple[Verdict, ...]]:
    stage = policy.input
    if stage.length == "off" or len(text) <= stage.max_chars:
        return False, ()
    blocked = stage.length == "block"
    verdict = Verdict(
        stage="input",
        rail="length",
        action="blocked" if blocked else "flagged",
        message=policy.message("length", language_of(text)),
        policy=policy.version,
        start=stage.max_chars,
        end=len(text),
    )
    return blocked, (verdict,)


def _scores(policy: Policy) -> bool:
    return (policy.input.flag_at, policy.input.block_at) != (None, None)


def _injected(policy: Policy, text: str) -> tuple[bool, tuple[Verdict, ...]]:
    stage = policy.input
    found = load_rules().score(text)
    blocked = stage.block_at is not None and found.value >= stage.block_at
    if not found.value or not (blocked or (stage.flag_at is not None and found.value >= stage.flag_at)):
        return False, ()
    verdict = Verdict(
        stage="input",
        rail="injection",
        action="blocked" if blocked else "flagged",
        message=policy.message("injection", language_of(text)),
        policy=policy.version,
        start=0,
        end=len(text),
        score=found.value,
    )
    return blocked, (verdict,)


_import_turn = threading.Lock()


def _quiet_library() -> ModuleType:
    """guardrails-ai without what it does on its own. Every line here is needed by 0.11.0, which is pinned.

    - metrics are on by default and `Guard()` reloads that default: `RC.load` is made to say no;
    - a hub exporter with a thread of its own is built even when metrics are off: it is not initialised;
    - its spans carry texts and would go to whatever OpenTelemetry exporter the operator has: no tracing;
    - outside a running loop it sets a process-wide event loop policy: run synchronously;
    - `rfc3987_syntax` builds a grammar for a second, to check the "iri" format of JSON schemas that we do not use.
    """
    with _import_turn, warnings.catch_warnings():
        # Deprecations inside its dependency tree are its authors' to fix, not a reason to fail our start.
        warnings.simplefilter("ignore", DeprecationWarning)
        os.environ["GUARDRAILS_RUN_SYNC"] = "true"
        _without("rfc3987_syntax", "guardrails.classes.rc")
        rc = importlib.import_module("guardrails.classes.rc").RC
        rc.load = classmethod(lambda cls, logger=None: cls.from_dict({"enable_metrics": False}))
        telemetry = importlib.import_module("guardrails.utils.hub_telemetry_utils").HubTelemetry
        telemetry.initialize_tracer = lambda self, *args, **kwargs: None
        library = importlib.import_module("guardrails")
        library.settings.disable_tracing = True
        library.settings.rc = rc.load()
        return library


def _without(absent: str, module: str) -> None:
    """Import `module` as if the optional package `absent` were not installed."""
    if module in sys.modules or absent in sys.modules:
        return
    sys.modules[absent] = None  # type: ignore[assignment]  # the import system's own mark for "cannot be imported"
    try:
        importlib.import_module(module)
    finally:
        del sys.modules[absent]
