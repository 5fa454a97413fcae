"""What each type of sensitive text looks like: patterns with their neighbours, and checks by checksum.

A pattern is `core` between neighbours it must not have (`before`, `after`). `partial()` turns the same source into
the pattern "this could still become a match", so that a stream knows what to hold back without a second, hand-made
grammar. `\\b` is not used: beside Chinese it never matches. All of it is matched on the normalised view (view.py).

It knows shapes, prefixes and what stands shortly before ("Fax: …"); whether a shape is real is checks.py's.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from functions.guardrails.checks import (
    IBAN_LENGTHS,
    Check,
    is_card,
    is_email,
    is_iban,
    is_ip,
    is_mrz,
    is_random,
    is_resident_id,
    is_ssn,
    is_very_random,
    phone_check,
    spoken_phone,
)

ALNUM = "[0-9A-Za-z]"
NOT_INSIDE = rf"(?:(?<!{ALNUM})|(?<=\\[nrt]))"  # not inside a word; an escaped line break in code or JSON is none
_NOT_NUMBER = rf"{NOT_INSIDE}(?<![0-9]\.)"  # also not the fraction of a decimal
_NUMBER_ENDS = rf"{ALNUM}|\.[0-9]"
_GAP = "[ .-]"

_ATOM = re.compile(
    r"(?P<frame>\(\?i?:|[()|*+?]|(?<=\))\{[\d,]+\})"
    r"|(?P<atom>\\.|\[(?:\\.|[^\]\\])+\]|.)(?:\{(?:\d+,)?(?P<most>\d+)\})?",
    re.DOTALL,
)


def partial(source: str) -> str:
    r"""The pattern of every beginning of a match: at each single character the text may also end.

    >>> print(partial("ab{2}"))
    (?:a|\Z)(?:b{2}|b{0,2}\Z)
    """
    return _ATOM.sub(_may_end, source)


def _may_end(match: re.Match[str]) -> str:
    if match["frame"]:
        return match[0]
    fewer = f"{match['atom']}{{0,{match['most']}}}" if match["most"] else ""
    return rf"(?:{match[0]}|{fewer}\Z)"


def one_of(chars: Collection[str]) -> str:
    return f"[{''.join(map(re.escape, sorted(chars)))}]"


@dataclass(frozen=True, slots=True)
class Run:
    """How an open-ended match goes on once its beginning is certain: `more`, over `joints`, up to `end`.

    A private key is suppressed up to its END line; a token up to the first character it cannot hold.
    """

    more: re.Pattern[str]
    end: tuple[re.Pattern[str], re.Pattern[str]] | None = None  # whole, and "could still become one"
    joint: tuple[re.Pattern[str], re.Pattern[str]] | None = None  # its group is what to pass over

    def follow(self, view: str, final: bool) -> tuple[int, bool]:
        """How many characters of `view` belong to the match for certain, and whether it ends there."""
        at = 0
        while True:
            more = self.more.match(view, at)
            at = more.end() if more else at
            if at == len(view):
                return at, final
            if self.end and (match := self.end[0].match(view, at)):
                return match.end(), True
            if not final and any(pair and pair[1].match(view, at) for pair in (self.end, self.joint)):
                return at, False
            if not self.joint or not (match := self.joint[0].match(view, at)):
                return at, True
            at = match.end(match.lastindex or 0)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One shape of one type. With a `run` it is certain as soon as `core` has matched, and goes on from there."""

    kind: str
    core: str
    head: str  # how a match begins: one character, or enough of them to pass over ordinary words quickly
    before: str = NOT_INSIDE
    after: str = ""
    check: Check | None = None
    run: Run | None = None
    lead: str = ""  # stands before the core, belongs to the match, and is shown
    context: Callable[[str, int], bool] | None = None  # of the view and the place: what must stand before it


# -- the table ----------------------------------------------------------------------------------------------------


def _cards() -> list[Pattern]:
    first, four = "[1-68]", "[ .-]{0,3}[0-9]{4}"  # 12 digits are old Maestro cards
    joined = [  # in one piece, or in the groups that are printed on cards
        f"{first}[0-9]{{11,18}}",
        f"{first}[0-9]{{3}}(?:{four}){{2}}[ .-]{{0,3}}[0-9]{{1,4}}",
        f"{first}[0-9]{{3}}(?:{four}){{3}}[ .-]{{1,3}}[0-9]{{1,3}}",
        "3[0-9]{3}[ .-]{1,3}[0-9]{6}[ .-]{0,3}[0-9]{4,5}",
        "6[0-9]{5}[ .-]{1,3}[0-9]{13}",
    ]
    # Digits one by one, in pairs or in threes: only when nothing of the row is left over, for rows of numbers are
    # ordinary and cards spelled out are not.
    spelled = [
        f"{first}(?:{_GAP}[0-9]){{12,18}}",
        f"{first}[0-9](?:{_GAP}[0-9]{{2}}){{5,8}}(?:{_GAP}[0-9])?",
        f"{first}[0-9]{{2}}(?:{_GAP}[0-9]{{3}}){{3,5}}(?:{_GAP}[0-9]{{1,2}})?",
    ]
    before, after = f"{_NOT_NUMBER}(?<![0-9]{_GAP})", f"{ALNUM}|{_GAP}[0-9]"
    return [Pattern("card", core, first, _NOT_NUMBER, _NUMBER_ENDS, is_card) for core in joined] + [
        Pattern("card", core, first, before, after, is_card) for core in spelled
    ]


def _ibans() -> list[Pattern]:
    by_letter: dict[str, str] = {}
    for code in sorted(IBAN_LENGTHS):
        by_letter[code[0]] = by_letter.get(code[0], "") + code[1]
    country = "(?:" + "|".join(f"{a}[{b}]" for a, b in by_letter.items()) + ")"
    small = country.lower()  # typed by hand, without groups
    return [
        Pattern("iban", rf"{country}[0-9]{{2}}(?:[ -]?[0-9A-Z]){{11,30}}", "[A-Z]{2}[0-9]", check=is_iban),
        Pattern("iban", rf"{small}[0-9]{{2}}[0-9a-z]{{11,30}}", "[a-z]{2}[0-9]", check=is_iban),
    ]


# Said of telephones, so that what follows is a number even where no plan knows it: people mistype, and number plans
# are wider than any library. Not "number" or "no.", which orders and invoices have too.
_PHONE_WORDS = re.compile(
    r"(?:(?i:(?<![a-z])(?:(?:tele|i)?phones?|mobiles?|cell(?:phone)?|tel|fax|desk|office|landline|hotline|whatsapp|"
    r"sms|calls?|called|calling|dial|ring|reach|contact|answer(?:s|ing)?)(?![a-z]))"
    r"|电话|手机|座机|传真|致电|拨打|热线|联系方式|來電|電話|手機|傳真)[^0-9]{0,16}\Z"
)


def _follows_phone_word(view: str, at: int) -> bool:
    return bool(_PHONE_WORDS.search(view, max(0, at - 32), at))


def _passports() -> list[Pattern]:
    """The lines that machines read on passports and identity cards (ICAO 9303)."""
    before, after = rf"{NOT_INSIDE}(?<!<)", "[0-9A-Za-z<]"
    state, date = "(?:[A-Z]{3}|[A-Z]<<)", "[0-9]{7}"
    return [
        Pattern("passport", core, head, before, after, is_mrz)
        for core, head in (
            (f"[0-9A-Z<]{{9}}[0-9]{state}{date}[MFX<]{date}(?:[0-9A-Z<]{{14}}[0-9<][0-9]|[0-9A-Z<]{{7}}[0-9])",
             "[0-9A-Z<]{9}[0-9]"),
            (f"[ACI][0-9A-Z<]{state}[0-9A-Z<]{{9}}[0-9][0-9A-Z<]{{15}}",
             "[ACI][0-9A-Z<][A-Z][A-Z<]{2}[0-9A-Z<]{9}[0-9]"),
            (f"{date}[MFX<]{date}{state}[0-9A-Z<]{{11}}[0-9]", "[0-9]{7}[MFX<]"),
            (f"P[A-Z<]{state}[A-Z<]{{39}}", "P[A-Z<]"),
        )
    ]  # fmt: skip


def _other_pii(regions: tuple[str, ...]) -> list[Pattern]:
    date = "(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    phone, extension, digit = phone_check(regions), "(?:x[0-9]{1,5})?", "[0-9]"
    not_ip = "(?<![0-9A-Za-z.])"
    return [
        Pattern("cn_resident_id", rf"[1-9][0-9]{{5}}[ -]?{date}[ -]?[0-9]{{3}}[0-9Xx]", "[1-9]",
                _NOT_NUMBER, _NUMBER_ENDS, is_resident_id),
        Pattern("us_ssn", "[0-8][0-9]{2}(?:-[0-9]{2}-| [0-9]{2} )[0-9]{4}", "[0-8]",
                rf"{_NOT_NUMBER}(?<![0-9]-)", rf"{_NUMBER_ENDS}|-[0-9]", is_ssn),
        Pattern("phone", r"\+[ (]?[0-9](?:[ ()./-]{0,2}[0-9]){6,14}" + extension, r"\+", after=ALNUM, check=phone),
        Pattern("phone", r"(?:\([0-9]{2,5}\)|[0-9]{2,5})[ .-]{1,2}[0-9]{2,5}(?:[ .-]?[0-9]{2,6}){1,3}" + extension,
                r"(?:[0-9]|\([0-9])", rf"{_NOT_NUMBER}(?<![0-9]-)(?<!\+)", rf"{_NUMBER_ENDS}|-[0-9]", phone),
        Pattern("phone", "(?:86[ -]?)?1[3-9][0-9]{9}|0[0-9]{9,11}", digit, rf"{_NOT_NUMBER}(?<![?&]id=)", _NUMBER_ENDS,
                phone),
        Pattern("phone", rf"(?:\([0-9]|[0-9])(?:[ ()./-]{{0,2}}[0-9]){{6,13}}{extension}", r"(?:[0-9]|\([0-9])",
                rf"{_NOT_NUMBER}(?<![0-9]-)(?<!\+)", rf"{_NUMBER_ENDS}|[ ./-][0-9]", spoken_phone,
                context=_follows_phone_word),
        Pattern("ip", rf"{octet}(?:\.{octet}){{3}}", digit, not_ip, rf"{ALNUM}|\.[0-9]", is_ip),
        Pattern("ip", "[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{1,34}(?:[0-9.]{1,11})?", "[0-9A-Fa-f]{1,4}:",
                "(?<![0-9A-Za-z.])(?<![0-9A-Fa-f:]:)", "[0-9A-Za-z:]", is_ip),
        Pattern("email", r"[0-9A-Za-z._%+-]{1,64}@(?:[0-9A-Za-z][0-9A-Za-z-]{0,40}\.){1,4}[A-Za-z]{2,18}",
                "[0-9A-Za-z._%+-]{1,64}@", "(?<![0-9A-Za-z._%+-])", check=is_email),
    ]  # fmt: skip


_WORD = "[0-9A-Za-z_-]"
_TOKEN_RUN = Run(re.compile(f"{_WORD}*"))
_BASE64_RUN = Run(re.compile("[0-9A-Za-z/+=]*"))
_DOTTED_RUN = Run(re.compile("[0-9A-Za-z_.=-]*"))
_WEBHOOK_RUN = Run(re.compile("[0-9A-Za-z/]*"))

_KEY_END = "-----END [0-9A-Z ]{0,40}-----"
# What may stand between two lines of a key in code or JSON: escaped line breaks; literals glued together; items of a
# list of lines. A comma joins only what is plainly key, for in JSON it also ends the key's own string.
_KEY_JOINT = (
    r"""(\\{1,4}[nrt]|["'](?:\\[nrt]|[\s+.;\\]){0,30}["'])(?:[0-9A-Za-z+/]{4}|-----END)"""
    r"""|(["'] {0,4},\s{0,24}["'])(?:[0-9A-Za-z+/]{40}|[0-9A-Za-z+/=]{1,40}["'] {0,4},\s{0,24}["']-----END|-----END)"""
)
_KEY_RUN = Run(
    re.compile(r"(?:[0-9A-Za-z+/=\s>|,:]|\\{1,4}[nrt]|-(?!-|\Z))*"),
    (re.compile(_KEY_END), re.compile(partial(_KEY_END) + r"\Z")),
    (re.compile(_KEY_JOINT), re.compile(f"(?:{partial(_KEY_JOINT)})\\Z")),
)
_KEY_GAP = r"""(?:[\s"'+>|,]|\\[nrt]){1,16}"""
_KEY_HEADER = "(?:Proc-Type: |DEK-Info: |Version: |Comment: |Hash: )"
_KEY = (
    "-----BEGIN (?:[0-9A-Z]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    + f"{_KEY_GAP}(?:[0-9A-Za-z+/]{{16}}|{_KEY_HEADER})"
)
# {"alg": {"typ": {"kid": {"x5t {"enc": {"cty": in base64: the headers a JWT begins with. A header too long to wait
# for its dot is suppressed when it begins so, for better a blob lost than a session leaked.
_JWT_HEADS = "(?:hbGciOi|0eXAiOi|raWQiOi|4NXQ|lbmMiOi|jdHkiOi)"

_SECRETS: tuple[tuple[str, str, str, Check | None, Run | None], ...] = (  # kind, core, head, check, how it goes on
    ("private_key", _KEY, "-----BEGIN ", None, _KEY_RUN),
    ("anthropic_key", f"sk-ant-[a-z]{{3,8}}[0-9]{{2}}-{_WORD}{{16}}", "sk-ant-", is_random, _TOKEN_RUN),
    ("openai_key", f"sk-(?:proj|svcacct|admin|None)-{_WORD}{{20}}", "sk-", is_random, _TOKEN_RUN),
    ("openai_key", "sk-[0-9A-Za-z]{32}", "sk-", is_random, _TOKEN_RUN),
    ("aws_key", "(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}", "A(?:KIA|SIA|BIA|CCA)", is_random, None),
    ("gcp_key", f"AIza{_WORD}{{33}}", "AIza", is_random, _TOKEN_RUN),
    ("gcp_key", f"GOCSPX-{_WORD}{{24}}", "GOCSPX-", is_random, _TOKEN_RUN),
    ("gcp_key", rf"ya29\.{_WORD}{{20}}", r"ya29\.", is_random, _TOKEN_RUN),
    ("github_token", "gh[pousr]_[0-9A-Za-z]{30}", "gh[pousr]_", is_random, _TOKEN_RUN),
    ("github_token", "github_pat_[0-9A-Za-z_]{20}", "github_pat_", is_random, _TOKEN_RUN),
    (
        "gitlab_token",
        f"gl(?:pat|dt|rt|ft|soat|cbt|ptt|imt|agent|oas)-{_WORD}{{18}}",
        "gl[pdrfscia][a-z]",
        is_random,
        _TOKEN_RUN,
    ),
    ("slack_token", "xox[abeoprs]-[0-9A-Za-z-]{12}", "xox[abeoprs]-", is_random, _TOKEN_RUN),
    ("slack_token", "xapp-[0-9]-[0-9A-Z]{8}", "xapp-", is_random, _TOKEN_RUN),
    ("slack_token", r"https://hooks\.slack\.com/services/T[0-9A-Z]{6}", "https://hooks", None, _WEBHOOK_RUN),
    ("stripe_key", "[sr]k_(?:live|test)_[0-9A-Za-z]{14}", "[sr]k_", is_random, _TOKEN_RUN),
    ("stripe_key", "whsec_[0-9A-Za-z+/]{20}", "whsec_", is_random, _BASE64_RUN),
    ("huggingface_token", "hf_[0-9A-Za-z]{28}", "hf_", is_random, _TOKEN_RUN),
    ("modal_token", "(?:ak|as|wk|ws)-[0-9A-Za-z]{20}", "(?:a[ks]|w[ks])-", is_very_random, _TOKEN_RUN),
    ("npm_token", "npm_[0-9A-Za-z]{30}", "npm_", is_random, _TOKEN_RUN),
    ("pypi_token", f"pypi-{_WORD}{{32}}", "pypi-", is_very_random, _TOKEN_RUN),
    *(
        ("vendor_key", core, head, is_random, run)
        for core, head, run in (
            # models
            ("sk-or-v1-[0-9a-f]{32}", "sk-or-", _TOKEN_RUN),  # OpenRouter
            ("gsk_[0-9A-Za-z]{40}", "gsk_", _TOKEN_RUN),  # Groq
            ("xai-[0-9A-Za-z]{60}", "xai-", _TOKEN_RUN),
            ("r8_[0-9A-Za-z]{32}", "r8_", _TOKEN_RUN),  # Replicate
            ("pplx-[0-9A-Za-z]{40}", "pplx-", _TOKEN_RUN),  # Perplexity
            ("nvapi-[0-9A-Za-z_-]{40}", "nvapi-", _TOKEN_RUN),  # NVIDIA
            ("tvly-[0-9A-Za-z-]{20}", "tvly-", _TOKEN_RUN),  # Tavily
            ("lsv2_(?:pt|sk)_[0-9a-f]{32}", "lsv2_", _TOKEN_RUN),  # LangSmith
            # clouds and hosts
            ("LTAI[0-9A-Za-z]{16,20}", "LTAI", None),  # Alibaba Cloud
            ("AKID[0-9A-Za-z]{32}", "AKID", _TOKEN_RUN),  # Tencent Cloud
            ("do[opr]_v1_[0-9a-f]{40}", "do[opr]_v1", _TOKEN_RUN),  # DigitalOcean
            ("dapi[0-9a-f]{32}", "dapi[0-9a-f]{4}", _TOKEN_RUN),  # Databricks
            ("HRKU-[0-9A-Za-z_-]{30}", "HRKU-", _TOKEN_RUN),  # Heroku
            ("nfp_[0-9A-Za-z]{36}", "nfp_", _TOKEN_RUN),  # Netlify
            ("sbp_[0-9a-f]{40}", "sbp_", _TOKEN_RUN),  # Supabase
            ("sb_secret_[0-9A-Za-z_-]{20}", "sb_secret", _TOKEN_RUN),
            ("pscale_(?:tkn|pw|oauth)_[0-9A-Za-z_.-]{30}", "pscale_", _TOKEN_RUN),  # PlanetScale
            (r"hv[sbr]\.[0-9A-Za-z_-]{24}", r"hv[sbr]\.", _TOKEN_RUN),  # HashiCorp Vault
            (r"dp\.(?:pt|st|sa|ct)\.[0-9A-Za-z._-]{30}", r"dp\.", _TOKEN_RUN),  # Doppler
            # software and packages
            ("dckr_(?:pat|oat)_[0-9A-Za-z_-]{20}", "dckr_", _TOKEN_RUN),  # Docker
            ("rubygems_[0-9a-f]{40}", "rubygems_", _TOKEN_RUN),
            ("cio[0-9A-Za-z]{32}", "cio[0-9A-Z]", _TOKEN_RUN),  # crates.io
            ("PMAK-[0-9a-f]{24}", "PMAK-", _TOKEN_RUN),  # Postman
            ("(?:glsa|glc)_[0-9A-Za-z+/=_]{32}", "gl(?:sa|c)_", _TOKEN_RUN),  # Grafana
            ("sntry[su]_[0-9A-Za-z+/=_]{32}", "sntry[su]_", _BASE64_RUN),  # Sentry
            ("NRAK-[0-9A-Z]{27}", "NRAK-", _TOKEN_RUN),  # New Relic
            ("lin_(?:api|oauth)_[0-9A-Za-z]{32}", "lin_", _TOKEN_RUN),  # Linear
            ("figd_[0-9A-Za-z_-]{30}", "figd_", _TOKEN_RUN),  # Figma
            ("ntn_[0-9A-Za-z]{40}", "ntn_", _TOKEN_RUN),  # Notion
            ("secret_[0-9A-Za-z]{43}", "secret_[0-9A-Za-z]{4}", _TOKEN_RUN),
            ("ATATT3[0-9A-Za-z_=-]{60}", "ATATT3", _DOTTED_RUN),  # Atlassian
            (r"pat[0-9A-Za-z]{14}\.[0-9a-f]{40}", "pat[0-9A-Za-z]{3}", _TOKEN_RUN),  # Airtable
            # people, messages and money
            (rf"SG\.{_WORD}{{16,32}}\.{_WORD}{{16}}", r"SG\.", _TOKEN_RUN),  # SendGrid
            ("(?:SK|AC)[0-9a-f]{32}", "(?:SK|AC)[0-9a-f]{2}", None),  # Twilio
            ("key-[0-9a-f]{32}", "key-[0-9a-f]{2}", None),  # Mailgun
            ("[0-9]{8,10}:AA[0-9A-Za-z_-]{32}", "[0-9]{8,10}:AA", _TOKEN_RUN),  # Telegram
            # Discord: a number in base64 comes first
            (rf"(?:M[TDjz]|N[DTjz]|O[DT]){_WORD}{{22,26}}\.{_WORD}{{6}}\.{_WORD}{{27}}", "[MNO][TDjz]", _TOKEN_RUN),
            ("shp(?:at|ca|pa|ss|ua)_[0-9A-Fa-f]{32}", "shp[acpsu]", _TOKEN_RUN),  # Shopify
            ("sq0(?:atp|csp|idp)-[0-9A-Za-z_-]{22}", "sq0", _TOKEN_RUN),  # Square
            ("AGE-SECRET-KEY-1[0-9A-Z]{40}", "AGE-SECRET", _TOKEN_RUN),  # age
        )
    ),
    ("jwt", rf"eyJ{_WORD}{{8,140}}\.eyJ{_WORD}{{4}}", "eyJ", None, _DOTTED_RUN),
    ("jwt", f"eyJ{_JWT_HEADS}{_WORD}{{140}}", "eyJ", None, _DOTTED_RUN),
)


# Characters like any others: only what stands before them says what they are.
_EQUALS = "[\"']? {0,3}[:=]{1,2} {0,3}[\"']?"
_LED = (
    Pattern(
        "aws_key",
        "[0-9A-Za-z/+]{40}",
        "(?i:aws_secret_|secretacc)",
        check=is_random,
        run=_BASE64_RUN,
        lead=f"(?i:aws_secret_access_key|aws_secret_key|secretaccesskey){_EQUALS}",
    ),
    Pattern(
        "azure_key",
        "[0-9A-Za-z/+]{43}",  # of a storage account, a service bus, a hub
        "(?i:accountkey|sharedacce)",
        check=is_random,
        run=_BASE64_RUN,
        lead=f"(?i:accountkey|sharedaccesskey){_EQUALS}",
    ),
    Pattern(  # of an application in Entra; the three characters before say nothing about the rest
        "azure_key",
        "[0-9]Q~[0-9A-Za-z_~.-]{31}",
        "[0-9]Q",
        before="",
        check=is_random,
        run=Run(re.compile("[0-9A-Za-z_~.-]*")),
        context=lambda view, at: bool(re.fullmatch("[0-9A-Za-z_~.]{3}", view[max(0, at - 3) : at])),
    ),
)


def table(regions: tuple[str, ...]) -> tuple[Pattern, ...]:
    """Every pattern there is."""
    secrets = [
        Pattern(kind, core, head, "" if head.startswith("-") else NOT_INSIDE, "" if run else ALNUM, check, run)
        for kind, core, head, check, run in _SECRETS
    ]
    return (*secrets, *_LED, *_cards(), *_ibans(), *_passports(), *_other_pii(regions))
