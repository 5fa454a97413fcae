"""Policies of the tests: as shipped, everything redacted, and what a test asks for."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from functions.guardrails.policy import Policy, load_policy
from tests.guardrails.corpus import TERMS

DEFAULT = load_policy(None)


@cache  # compiled once for all tests
def policy(toml: str) -> Policy:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "policy.toml"
        path.write_text(toml, encoding="utf-8")
        return load_policy(path)


ALL_PII = 'phone = "redact"\nemail = "redact"\nip = "redact"\n'
BANNED_TERMS = "[banned_terms]\nterms = [" + ", ".join(f'"{term}"' for term in TERMS) + "]\n"
STRICT = policy(f"[input.pii]\n{ALL_PII}[output.pii]\n{ALL_PII}{BANNED_TERMS}")
FLAGGING = policy('[output.pii]\nphone = "flag"\nemail = "flag"\ncard = "flag"\n[output.secrets]\njwt = "flag"\n')
BLOCKING = policy(
    '[input.pii]\ncard = "block"\nemail = "flag"\n[output.pii]\ncard = "block"\nemail = "redact"\n' + BANNED_TERMS
)
