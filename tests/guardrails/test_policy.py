"""Policies: what ships, what a file changes, and how mistakes are told."""

from pathlib import Path

import pytest

from functions.guardrails.policy import BANNED, PII, SECRETS, PolicyError, load_policy, rail_of


def written(folder: Path, toml: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(toml, encoding="utf-8")
    return path


def test_the_policy_that_ships_redacts_what_is_certain_and_leaves_ordinary_work_alone() -> None:
    policy = load_policy(None)

    for stage in (policy.input, policy.output):
        assert {kind for kind in PII if stage.actions[kind] == "redact"} == {
            "card",
            "iban",
            "us_ssn",
            "cn_resident_id",
            "passport",
        }
        assert {stage.actions[kind] for kind in SECRETS} == {"redact"}
        assert {stage.actions[kind] for kind in ("phone", "email", "ip")} == {"off"}
    assert policy.terms == ()


def test_every_rail_speaks_english_and_chinese() -> None:
    policy = load_policy(None)

    for kind in (*PII, *SECRETS, BANNED):
        assert policy.message(rail_of(kind), "en").isascii()
        assert not policy.message(rail_of(kind), "zh").isascii()


def test_a_file_changes_only_what_it_says(tmp_path: Path) -> None:
    policy = load_policy(
        written(tmp_path, '[output.pii]\nemail = "flag"\n[output.secrets]\nall = "block"\njwt = "off"\n')
    )

    assert policy.output.actions["email"] == "flag"
    assert policy.output.actions["card"] == "redact"
    assert policy.output.actions["jwt"] == "off"
    assert policy.output.actions["npm_token"] == "block"
    assert policy.input.actions["npm_token"] == "redact"


def test_the_version_is_of_the_content(tmp_path: Path) -> None:
    default = load_policy(None).version

    assert load_policy(written(tmp_path, "# nothing changed\n")).version == default
    assert load_policy(written(tmp_path, '[output.pii]\nip = "flag"\n')).version != default
    assert load_policy(written(tmp_path, '[banned_terms]\nterms = ["x"]\n')).version != default


def test_terms_come_from_the_file_beside_the_policy(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("# a comment\n\n 坏词 \nfrobnicate\n", encoding="utf-8")

    policy = load_policy(written(tmp_path, '[banned_terms]\nterms = ["nevermore"]\nfile = "terms.txt"\n'))

    assert policy.terms == ("frobnicate", "nevermore", "坏词")


@pytest.mark.parametrize(
    ("toml", "line", "says"),
    [
        ('[output.pii]\ncard = "redact"\nemial = "off"\n', 3, ["[output.pii] emial", "unknown", "email"]),
        ('\n[output.pii]\ncard = "delete"\n', 3, ["[output.pii] card", "'delete'", "block, redact, flag, off"]),
        ("[input.length]\n# long\nmax_chars = -5\n", 3, ["max_chars", "from 1 to"]),
        ("[input.length]\nmax_chars = true\n", 2, ["max_chars"]),
        ('[input.length]\naction = "redact"\n', 2, ["action", "block, flag, off"]),
        ('[output.length]\naction = "block"\n', 1, ["[output] length", "unknown"]),
        ('[outptu.pii]\ncard = "off"\n', 1, ["outptu", "unknown", "output"]),
        ('[output.secrets]\ngithub = "off"\n', 2, ["github", "github_token"]),
        ('[banned_terms]\nterms = "x"\n', 2, ["list of strings"]),
        ('[banned_terms]\nterms = ["x", "\\u200b"]\n', 2, ["no visible character"]),
        (f'[banned_terms]\nterms = ["{"x" * 81}"]\n', 2, ["80 characters"]),
        ('[banned_terms]\nfile = "absent.txt"\n', 2, ["absent.txt", "cannot read"]),
        ("[banned_terms]\nfile = 3\n", 2, ["path in quotes"]),
        ('[phone]\nregions = ["USA"]\n', 2, ["two capitals"]),
        ("[messages.pii]\nen = 3\n", 2, ["sentence"]),
        ('[messages.pii]\nde = "Hallo"\n', 2, ["en, zh"]),
        ('[output]\npii = "off"\n', 2, ["table"]),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_do(tmp_path: Path, toml: str, line: int, says: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policy(written(tmp_path, toml))

    for part in (f"policy.toml, line {line}:", *says):
        assert part in caught.value.message


def test_broken_toml_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"not valid TOML.*line 2"):
        load_policy(written(tmp_path, "[output.pii]\ncard = \n"))


def test_a_missing_policy_is_told(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot read the policy"):
        load_policy(tmp_path / "absent.toml")


def test_a_bad_line_of_a_term_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("good\n" + "x" * 100 + "\n", encoding="utf-8")

    with pytest.raises(PolicyError, match=r"terms\.txt, line 2: .*shorten"):
        load_policy(written(tmp_path, '[banned_terms]\nfile = "terms.txt"\n'))
