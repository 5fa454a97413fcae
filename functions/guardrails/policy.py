"""The guardrail policy: which rails are on, what they do, and what people read. Data, in one TOML file.

`load_policy(None)` is the policy that ships (default.toml). A policy is frozen; its `version` is a hash of what it
says, so a stored verdict names the rules it was made under. A mistake is a `PolicyError` that names the file, the
line and what to do. It knows what rails exist (`PII`, `SECRETS`); it does not know how they find anything.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from functions.chat.messages import Stage
from functions.errors import ParleyError
from functions.guardrails.view import view_of

RailAction = Literal["block", "redact", "flag", "off"]
Language = Literal["en", "zh"]

PII = ("card", "iban", "cn_resident_id", "us_ssn", "passport", "phone", "ip", "email")
SECRETS = (
    "private_key",
    "anthropic_key",
    "openai_key",
    "aws_key",
    "gcp_key",
    "azure_key",
    "github_token",
    "gitlab_token",
    "slack_token",
    "stripe_key",
    "huggingface_token",
    "modal_token",
    "npm_token",
    "pypi_token",
    "vendor_key",  # some forty others with a fixed prefix, from Airtable to xAI: the list is in patterns.py
    "jwt",
)
BANNED = "banned_term"
RAILS = ("length", "pii", "secrets", "banned_terms")
DEFAULT = Path(__file__).with_name("default.toml")
TERM_CHARS = 80  # half the hold-back bound: a term and its neighbours always fit

_ACTIONS: tuple[RailAction, ...] = ("block", "redact", "flag", "off")
_LANGUAGES: tuple[Language, ...] = ("en", "zh")


class PolicyError(ParleyError):
    """The policy file is wrong; the message says where and what to do."""

    code = "bad_policy"


@dataclass(frozen=True, slots=True, eq=False)
class StagePolicy:
    """What one stage does, per type: `actions["card"]`, `actions["github_token"]`, `actions["banned_term"]`."""

    actions: Mapping[str, RailAction]
    length: RailAction = "off"
    max_chars: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    input: StagePolicy
    output: StagePolicy
    terms: tuple[str, ...]
    phone_regions: tuple[str, ...]
    messages: Mapping[str, Mapping[Language, str]]
    version: str

    def stage(self, stage: Stage) -> StagePolicy:
        return self.input if stage == "input" else self.output

    def message(self, rail: str, language: Language) -> str:
        return self.messages[rail.partition(".")[0]][language]


def rail_of(kind: str) -> str:
    """The rail's name in verdicts: `pii.card`, `secrets.jwt`, `banned_terms`."""
    if kind == BANNED:
        return "banned_terms"
    return f"pii.{kind}" if kind in PII else f"secrets.{kind}"


def load_policy(path: Path | None) -> Policy:
    """The policy in `path`; what a file does not mention is as in the default policy."""
    default = _Document.read(DEFAULT)
    document = default if path is None else _Document.read(path)
    return _Reader(document, default.data).policy()


@dataclass(frozen=True, slots=True)
class _Document:
    """A parsed TOML file that can still say on which line a key stands."""

    path: Path
    source: str
    data: dict[str, Any]  # TOML: any value; `_Reader` checks each

    @classmethod
    def read(cls, path: Path) -> "_Document":
        try:
            source = path.read_text(encoding="utf-8")
            return cls(path, source, tomllib.loads(source))
        except OSError as exc:
            raise PolicyError(f"{path}: cannot read the policy: {exc.strerror or exc}") from exc
        except UnicodeDecodeError as exc:
            raise PolicyError(f"{path}: the policy must be UTF-8 text") from exc
        except tomllib.TOMLDecodeError as exc:  # its message ends with the line and the column
            raise PolicyError(f"{path}: not valid TOML: {exc}") from exc

    def line(self, table: str, key: str = "") -> int:
        """The line of `key` under `[table]`, else of the table's header, else 1."""
        header, found = "", 1
        for number, text in enumerate(self.source.splitlines(), 1):
            if match := re.match(r"\s*\[([^\]]+)\]", text):
                header = match[1].replace(" ", "")
                if header == table or (found == 1 and header.startswith(table)):
                    found = number
            name = re.match(r"\s*[\"']?([\w.-]+)[\"']?\s*=", text)
            if name and key and ".".join(filter(None, (header, name[1]))) == f"{table}.{key}".strip("."):
                return number
        return found

    def error(self, table: str, key: str, what: str) -> PolicyError:
        field = f"[{table}] {key}".strip() if table else key
        return PolicyError(f"{self.path}, line {self.line(table, key)}: {field}: {what}")


class _Reader:
    """Checks one document field by field; every complaint names its line."""

    def __init__(self, document: _Document, default: dict[str, Any]) -> None:
        self._doc, self._default = document, default

    def policy(self) -> Policy:
        self._known("", {"input", "output", "banned_terms", "phone", "messages"})
        stages = {stage: self._stage(stage) for stage in ("input", "output")}
        terms, regions, messages = self._terms(), self._regions(), self._messages()
        content = json.dumps(
            [[dict(s.actions), s.length, s.max_chars] for s in stages.values()]
            + [terms, regions, {rail: dict(texts) for rail, texts in messages.items()}],
            sort_keys=True,
        )
        version = hashlib.sha256(content.encode()).hexdigest()[:12]
        return Policy(stages["input"], stages["output"], terms, regions, messages, version)

    def _table(self, table: str) -> dict[str, Any]:
        """The table as written; {} when absent."""
        value: Any = self._doc.data
        path: list[str] = []
        for part in filter(None, table.split(".")):
            value = value.get(part, {})
            if not isinstance(value, dict):
                what = f"must be a table: write [{'.'.join((*path, part))}] and the fields below it"
                raise self._doc.error(".".join(path), part, what)
            path.append(part)
        return cast("dict[str, Any]", value)

    def _fallback(self, table: str, key: str) -> Any:  # TOML: any value, and the default file is ours
        value: Any = self._default
        for part in table.split("."):
            value = value[part]
        return value.get(key)

    def _known(self, table: str, fields: set[str]) -> dict[str, Any]:
        values = self._table(table)
        for key in values:
            if key not in fields:
                raise self._doc.error(table, key, f"unknown; use one of: {', '.join(sorted(fields))}")
        return values

    def _action(self, table: str, key: str, allowed: tuple[RailAction, ...] = _ACTIONS) -> RailAction:
        value = self._table(table).get(key, self._fallback(table, key))
        if value not in allowed:
            raise self._doc.error(table, key, f"{value!r} is not an action here; use one of: {', '.join(allowed)}")
        return cast("RailAction", value)

    def _stage(self, stage: str) -> StagePolicy:
        rails = {"pii", "secrets", "banned_terms"} | ({"length"} if stage == "input" else set())
        self._known(stage, rails)
        self._known(f"{stage}.pii", set(PII))
        self._known(f"{stage}.banned_terms", {"action"})
        actions = {kind: self._action(f"{stage}.pii", kind) for kind in PII}
        actions |= self._secrets(f"{stage}.secrets")
        actions[BANNED] = self._action(f"{stage}.banned_terms", "action")
        frozen = MappingProxyType(actions)
        return StagePolicy(frozen, *self._length()) if stage == "input" else StagePolicy(frozen)

    def _secrets(self, table: str) -> dict[str, RailAction]:
        own = self._known(table, {"all", *SECRETS})
        every = self._action(table, "all")
        return {kind: self._action(table, kind) if kind in own else every for kind in SECRETS}

    def _length(self) -> tuple[RailAction, int]:
        values = self._known("input.length", {"action", "max_chars"})
        most = values.get("max_chars", self._fallback("input.length", "max_chars"))
        if type(most) is not int or most < 1:
            raise self._doc.error("input.length", "max_chars", f"{most!r} must be a whole number above 0")
        return self._action("input.length", "action", ("block", "flag", "off")), most

    def _strings(self, table: str, key: str) -> tuple[str, ...]:
        value = self._table(table).get(key, self._fallback(table, key))
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self._doc.error(table, key, 'must be a list of strings, e.g. ["one", "two"]')
        return tuple(value)

    def _terms(self) -> tuple[str, ...]:
        values = self._known("banned_terms", {"terms", "file"})
        terms = self._strings("banned_terms", "terms")
        for term in terms:
            if problem := _term_problem(term):
                raise self._doc.error("banned_terms", "terms", problem)
        return tuple(sorted({term.strip() for term in (*terms, *self._term_file(values.get("file")))}))

    def _term_file(self, name: object) -> list[str]:
        if name is None:
            return []
        if not isinstance(name, str):
            raise self._doc.error("banned_terms", "file", "must be a path in quotes")
        path = self._doc.path.parent / name
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as exc:
            raise self._doc.error("banned_terms", "file", f"cannot read {path} as UTF-8 text: {exc}") from exc
        for number, line in enumerate(lines, 1):
            if line and not line.startswith("#") and (problem := _term_problem(line)):
                raise PolicyError(f"{path}, line {number}: {problem}")
        return [line for line in lines if line and not line.startswith("#")]

    def _regions(self) -> tuple[str, ...]:
        self._known("phone", {"regions"})
        regions = self._strings("phone", "regions")
        for region in regions:
            if not re.fullmatch("[A-Z]{2}", region):
                raise self._doc.error("phone", "regions", f"{region!r} must be a country code of two capitals")
        return regions

    def _messages(self) -> Mapping[str, Mapping[Language, str]]:
        self._known("messages", set(RAILS))
        return MappingProxyType({rail: self._message(f"messages.{rail}") for rail in RAILS})

    def _message(self, table: str) -> Mapping[Language, str]:
        values = self._known(table, set(_LANGUAGES))
        texts = {language: values.get(language, self._fallback(table, language)) for language in _LANGUAGES}
        for language, text in texts.items():
            if not isinstance(text, str) or not text.strip():
                raise self._doc.error(table, language, "must be a sentence in quotes")
        return MappingProxyType(texts)


def _term_problem(term: str) -> str:
    if not view_of(term)[0].strip():
        return f"{term!r} has no visible character; remove it"
    return f"{term[:20]!r}… has more than {TERM_CHARS} characters; shorten it" if len(term) > TERM_CHARS else ""
