"""The operator's own rails: guardrails-ai validators, loaded by the name that the policy gives.

`use` is `module:Class`, or the name that a validator was registered under. Each is wrapped: what it says becomes a
verdict with the action of the policy, and when it breaks, the rail's own `fail` decides. It is given the text and
metadata of its own, so it learns nothing about other rails.
"""

import importlib
import json
import logging
from types import ModuleType
from typing import Any

from functions.chat.messages import Stage, Verdict
from functions.guardrails.document import PolicyError
from functions.guardrails.finds import note, once
from functions.guardrails.policy import CustomRail, Policy, RailAction
from functions.guardrails.scanner import digest_of
from functions.guardrails.stream import DONE, language_of

_logger = logging.getLogger("parley")


def custom_rails(library: ModuleType, policy: Policy, stage: Stage, key: bytes) -> list[Any]:  # guardrails.Validator
    """The rails of this stage, in the policy's order. Raises PolicyError when one cannot be loaded."""
    actions = {rail: rail.input if stage == "input" else rail.output for rail in policy.custom}
    return [_wrapped(library, policy, rail, stage, action, key) for rail, action in actions.items() if action != "off"]


def _loaded(library: ModuleType, policy: Policy, rail: CustomRail) -> Any:
    """The validator itself, made with the policy's arguments."""
    where = f"{policy.files[0]}: [custom.{rail.name}] use: {rail.use!r}"
    try:
        module_or_name, _, attribute = rail.use.partition(":")
        registered = library.validator_base.validators_registry  # asking the library by name would ask its hub, too
        found = (
            getattr(importlib.import_module(module_or_name), attribute) if attribute else registered.get(module_or_name)
        )
    except Exception as exc:  # whatever the operator's module does when it is imported
        raise PolicyError(f"{where} cannot be loaded: {type(exc).__name__}: {exc}") from exc
    if not (isinstance(found, type) and issubclass(found, library.Validator)):
        raise PolicyError(f"{where} is no guardrails-ai validator; register it, or write module:Class.")
    try:
        return found(on_fail=library.OnFailAction.NOOP, **json.loads(rail.arguments))
    except Exception as exc:
        raise PolicyError(f"{where} does not take these arguments: {exc}") from exc


def _wrapped(
    library: ModuleType, policy: Policy, rail: CustomRail, stage: Stage, action: RailAction, key: bytes
) -> Any:
    validator, types = _loaded(library, policy, rail), library.validator_base

    def verdict(text: str, done: RailAction) -> Verdict:
        return Verdict(
            stage=stage,
            rail=f"custom.{rail.name}",
            action=DONE[done],
            message=policy.message("custom", language_of(text)),
            policy=policy.version,
            end=len(text),
            digest=digest_of(text, key),
        )

    @library.register_validator(name=f"parley/custom-{stage}-{rail.name}", data_type="string")
    class Custom(library.Validator):  # type: ignore[misc, name-defined]
        def _validate(self, value: str, metadata: dict[str, Any]) -> Any:
            try:
                result = once(metadata, rail.name, value, lambda text: validator.validate(text, {}))
            except Exception:  # somebody else's code: its text may hold the user's
                _logger.warning("rail.broke", extra={"fields": {"rail": rail.name, "fail": rail.fail}})
                return self._ended(value, metadata, "flag" if rail.fail == "open" else "block")
            if result.outcome == "pass":
                return types.PassResult()
            fixed = getattr(result, "fix_value", None)
            if action == "redact" and isinstance(fixed, str):
                note(metadata, [verdict(value, "redact")], False)
                return types.FailResult(error_message="changed by a rail", fix_value=fixed)
            return self._ended(value, metadata, "block" if action == "redact" else action)

        def _ended(self, value: str, metadata: dict[str, Any], done: RailAction) -> Any:
            note(metadata, [verdict(value, done)], done == "block")
            return types.PassResult()

    return Custom(on_fail=library.OnFailAction.FIX)
