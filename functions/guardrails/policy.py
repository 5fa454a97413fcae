"""The guardrail policy: which rails are on, what they do, and what people read. Data, in one TOML file.

`load_policy(None)` is the policy that ships (default.toml); strict.toml ships beside it. A policy is frozen; its
`version` is a hash of what it says, so a stored verdict names the rules it was made under. A mistake is a
`PolicyError` that names the file, the line and what to do. It knows what rails exist; it does not know how they find
anything.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from functions.chat.messages import Stage
from functions.guardrails.document import Document, PolicyError
from functions.guardrails.view import view_of

RailAction = Literal["block", "redact", "flag", "off"]
Language = Literal["en", "zh"]
OnFault = Literal["open", "closed"]

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
MARKUP = ("script", "image", "html", "link")
HARMS = (  # that a guard model tells apart; moderation.py has its names for them
    "violence",
    "illegal_acts",
    "sexual",
    "personal_data",
    "self_harm",
    "unethical",
    "politics",
    "copyright",
    "jailbreak",
)
HIDDEN = "hidden_text"
BANNED = "banned_term"
UNJUDGED = "unjudged"  # the message when the guard model gave no verdict
RAILS = ("length", "pii", "secrets", "banned_terms", "injection", "leak", "markup", "moderation", "custom")
DEFAULT = Path(__file__).with_name("default.toml")
STRICT = Path(__file__).with_name("strict.toml")
TERM_CHARS = 80  # half the hold-back bound: a term and its neighbours always fit

_ACTIONS: tuple[RailAction, ...] = ("block", "redact", "flag", "off")
_LANGUAGES: tuple[Language, ...] = ("en", "zh")
_HOST = re.compile(r"[0-9a-z](?:[0-9a-z-]*[0-9a-z])?(?:\.[0-9a-z](?:[0-9a-z-]*[0-9a-z])?)*")


@dataclass(frozen=True, slots=True, eq=False)
class StagePolicy:
    """What one stage does, per type: `actions["card"]`, `actions["github_token"]`, `actions["banned_term"]`."""

    actions: Mapping[str, RailAction]
    length: RailAction = "off"
    max_chars: int = 0
    flag_at: float | None = None  # scores of injection, from 0 to 1; None: never
    block_at: float | None = None


@dataclass(frozen=True, slots=True)
class MarkupPolicy:
    """What counts as carrying data away. Hosts stand for themselves and their subdomains."""

    allowed_hosts: tuple[str, ...] = ()
    image_chars: int = 1
    link_chars: int = 48


@dataclass(frozen=True, slots=True)
class ModerationPolicy:
    """How a guard model is asked, where one is deployed, and what its answers do."""

    input: RailAction = "off"
    output: RailAction = "off"
    controversial: RailAction = "flag"  # what it calls neither safe nor unsafe
    ignored: tuple[str, ...] = ()  # of HARMS: what it finds of nothing else counts as safe
    fail: OnFault = "closed"
    timeout_ms: int = 2000
    window_chars: int = 200
    later_windows: Literal["hold", "show"] = "show"
    final_check: bool = True


@dataclass(frozen=True, slots=True)
class CustomRail:
    """A validator of the operator's, by name: `module:Class`, or the name it is registered under."""

    name: str
    use: str
    input: RailAction
    output: RailAction
    fail: OnFault
    arguments: str  # JSON of its keyword arguments: a policy is hashable


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    input: StagePolicy
    output: StagePolicy
    terms: tuple[str, ...]
    phone_regions: tuple[str, ...]
    markup: MarkupPolicy
    moderation: ModerationPolicy
    custom: tuple[CustomRail, ...]
    messages: Mapping[str, Mapping[Language, str]]
    version: str = ""
    warnings: tuple[str, ...] = ()  # rails that the default policy has and this one does not
    files: tuple[Path, ...] = field(default=())

    def stage(self, stage: Stage) -> StagePolicy:
        return self.input if stage == "input" else self.output

    def message(self, rail: str, language: Language) -> str:
        return self.messages[rail.partition(".")[0]][language]


def rail_of(kind: str) -> str:
    """The rail's name in verdicts: `pii.card`, `secrets.jwt`, `markup.image`, `leak`, `banned_terms`."""
    if kind in {BANNED, HIDDEN}:
        return "banned_terms" if kind == BANNED else "leak"
    rail = "pii" if kind in PII else "markup" if kind in MARKUP else "secrets"
    return f"{rail}.{kind}"


def load_policy(path: Path | None) -> Policy:
    """The policy in `path`; what a file does not mention is as in the default policy."""
    default = Document.read(DEFAULT)
    return _Reader(default if path is None else Document.read(path, default)).policy()


class PolicyFile:
    """A policy that follows its file, for development: `reloaded()` is asked now and then.

        file = PolicyFile(path)
        if changed := file.reloaded():   # a new Policy, or None
            …

    A mistake in the file raises PolicyError once; until it is mended the old policy stays in force.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.policy = load_policy(path)
        self._seen = self._stamps()

    def reloaded(self) -> Policy | None:
        if (stamps := self._stamps()) == self._seen:
            return None
        self._seen = stamps
        policy = load_policy(self._path)
        is_new = policy.version != self.policy.version
        self.policy = policy
        self._seen = self._stamps()  # a file of terms may be a new one
        return policy if is_new else None

    def _stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(path) for path in self.policy.files]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


class _Reader:
    """Checks one document field by field; every complaint names its line."""

    def __init__(self, document: Document) -> None:
        self._doc = document
        self._files = [document.path]

    def policy(self) -> Policy:
        self._doc.known("", {"input", "output", "banned_terms", "phone", "markup", "moderation", "custom", "messages"})
        policy = Policy(
            input=self._input(),
            output=self._output(),
            terms=self._terms(),
            phone_regions=self._regions(),
            markup=self._markup(),
            moderation=self._moderation(),
            custom=tuple(self._custom(name) for name in self._doc.table("custom")),
            messages=self._messages(),
        )
        version = hashlib.sha256(json.dumps(_plain(policy), sort_keys=True).encode()).hexdigest()[:12]
        return Policy(
            **{
                f.name: getattr(policy, f.name)
                for f in fields(policy)
                if f.name not in {"version", "warnings", "files"}
            },
            version=version,
            warnings=tuple(self._warnings(policy)),
            files=tuple(self._files),
        )

    # -- stages -----------------------------------------------------------------------------------------------

    def _action(self, table: str, key: str, allowed: tuple[RailAction, ...] = _ACTIONS) -> RailAction:
        return cast("RailAction", self._doc.choice(table, key, allowed))

    def _input(self) -> StagePolicy:
        self._doc.known("input", {"pii", "secrets", "banned_terms", "length", "injection"})
        self._doc.known("input.length", {"action", "max_chars"})
        self._doc.known("input.injection", {"flag_at", "block_at"})
        flag_at, block_at = (self._doc.share("input.injection", key) for key in ("flag_at", "block_at"))
        return StagePolicy(
            MappingProxyType(self._types("input")),
            length=self._action("input.length", "action", ("block", "flag", "off")),
            max_chars=self._doc.whole("input.length", "max_chars", 1, 10_000_000),
            flag_at=flag_at,
            block_at=block_at,
        )

    def _output(self) -> StagePolicy:
        self._doc.known("output", {"pii", "secrets", "banned_terms", "leak", "markup"})
        self._doc.known("output.leak", {"action"})
        self._doc.known("output.markup", set(MARKUP))
        actions = self._types("output")
        actions |= {kind: self._action("output.markup", kind) for kind in MARKUP}
        actions[HIDDEN] = self._action("output.leak", "action")
        return StagePolicy(MappingProxyType(actions))

    def _types(self, stage: str) -> dict[str, RailAction]:
        self._doc.known(f"{stage}.pii", set(PII))
        self._doc.known(f"{stage}.banned_terms", {"action"})
        actions = {kind: self._action(f"{stage}.pii", kind) for kind in PII}
        actions |= self._secrets(f"{stage}.secrets")
        actions[BANNED] = self._action(f"{stage}.banned_terms", "action")
        return actions

    def _secrets(self, table: str) -> dict[str, RailAction]:
        own = self._doc.known(table, {"all", *SECRETS})
        every = self._action(table, "all")
        return {kind: self._action(table, kind) if kind in own else every for kind in SECRETS}

    # -- what the rails look for ------------------------------------------------------------------------------

    def _terms(self) -> tuple[str, ...]:
        values = self._doc.known("banned_terms", {"terms", "file"})
        terms = self._doc.strings("banned_terms", "terms")
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
        self._files.append(path)
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as exc:
            raise self._doc.error("banned_terms", "file", f"cannot read {path} as UTF-8 text: {exc}") from exc
        for number, line in enumerate(lines, 1):
            if line and not line.startswith("#") and (problem := _term_problem(line)):
                raise PolicyError(f"{path}, line {number}: {problem}")
        return [line for line in lines if line and not line.startswith("#")]

    def _regions(self) -> tuple[str, ...]:
        self._doc.known("phone", {"regions"})
        regions = self._doc.strings("phone", "regions")
        for region in regions:
            if not re.fullmatch("[A-Z]{2}", region):
                raise self._doc.error("phone", "regions", f"{region!r} must be a country code of two capitals")
        return regions

    def _markup(self) -> MarkupPolicy:
        self._doc.known("markup", {"allowed_hosts", "image_chars", "link_chars"})
        hosts = tuple(host.lower() for host in self._doc.strings("markup", "allowed_hosts"))
        for host in hosts:
            if not _HOST.fullmatch(host):
                what = f'{host!r} must be the name of a host, without https:// and path, e.g. "img.example.org"'
                raise self._doc.error("markup", "allowed_hosts", what)
        image_chars = self._doc.whole("markup", "image_chars", 0, 24)
        return MarkupPolicy(hosts, image_chars, self._doc.whole("markup", "link_chars", 1, 120))

    def _moderation(self) -> ModerationPolicy:
        table, doc = "moderation", self._doc
        doc.known(table, {f.name for f in fields(ModerationPolicy)})
        final = doc.value(table, "final_check")
        if not isinstance(final, bool):
            raise doc.error(table, "final_check", f"{final!r} must be true or false")
        acts: tuple[RailAction, ...] = ("block", "flag", "off")
        return ModerationPolicy(
            input=self._action(table, "input", acts),
            output=self._action(table, "output", acts),
            controversial=self._action(table, "controversial", acts),
            ignored=self._ignored(),
            fail=cast("OnFault", doc.choice(table, "fail", ("open", "closed"))),
            timeout_ms=doc.whole(table, "timeout_ms", 50, 60_000),
            window_chars=doc.whole(table, "window_chars", 40, 4000),
            later_windows=cast("Literal['hold', 'show']", doc.choice(table, "later_windows", ("hold", "show"))),
            final_check=final,
        )

    def _ignored(self) -> tuple[str, ...]:
        ignored = self._doc.strings("moderation", "ignored")
        for harm in ignored:
            if harm not in HARMS:
                what = f"{harm!r} is unknown; use some of: {', '.join(HARMS)}"
                raise self._doc.error("moderation", "ignored", what)
        return tuple(sorted(set(ignored)))

    def _custom(self, name: str) -> CustomRail:
        table = f"custom.{name}"
        values = self._doc.known(table, {"use", "input", "output", "fail", "arguments"})
        if not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise self._doc.error("custom", name, "the name may have small letters, digits and _")
        if not re.fullmatch(r"[\w.]+:\w+|[\w.-]+/[\w.-]+", str(values.get("use", ""))):
            raise self._doc.error(table, "use", 'must be "module:Class" or the registered name "who/what"')
        arguments = values.get("arguments", {})
        try:
            written = json.dumps(arguments, sort_keys=True)
        except TypeError as exc:
            raise self._doc.error(table, "arguments", f"must hold plain values: {exc}") from exc
        if not isinstance(arguments, dict):
            raise self._doc.error(table, "arguments", "must be a table, e.g. { least = 3 }")

        def choice(key: str, default: str, allowed: tuple[str, ...]) -> str:
            return self._doc.choice(table, key, allowed) if key in values else default

        return CustomRail(
            name,
            values["use"],
            cast("RailAction", choice("input", "off", _ACTIONS)),
            cast("RailAction", choice("output", "off", _ACTIONS)),
            cast("OnFault", choice("fail", "closed", ("open", "closed"))),
            written,
        )

    def _messages(self) -> Mapping[str, Mapping[Language, str]]:
        names = (*RAILS, UNJUDGED)
        self._doc.known("messages", set(names))
        return MappingProxyType({name: self._message(f"messages.{name}") for name in names})

    def _message(self, table: str) -> Mapping[Language, str]:
        self._doc.known(table, set(_LANGUAGES))
        return MappingProxyType({language: self._doc.sentence(table, language) for language in _LANGUAGES})

    def _warnings(self, policy: Policy) -> list[str]:
        """What is off here and on in the policy that ships."""
        if self._doc.data is self._doc.default:
            return []
        default = load_policy(None)
        found = []
        for name, mine, theirs in (("input", policy.input, default.input), ("output", policy.output, default.output)):
            off = [k for k, action in mine.actions.items() if action == "off" and theirs.actions[k] != "off"]
            found += [f"{name}: {rail_of(kind)} is off" for kind in off]
            if mine.length == "off" and theirs.length != "off":
                found.append(f"{name}: length is off")
            if mine.flag_at is None and mine.block_at is None and theirs.flag_at is not None:
                found.append(f"{name}: injection is off")
        return found


def _plain(value: object) -> Any:
    """What a policy says, as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return [_plain(getattr(value, f.name)) for f in fields(value)]
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def _term_problem(term: str) -> str:
    if not view_of(term)[0].strip():
        return f"{term!r} has no visible character; remove it"
    return f"{term[:20]!r}… has more than {TERM_CHARS} characters; shorten it" if len(term) > TERM_CHARS else ""
