"""What each type of sensitive text looks like: patterns with their neighbours, and checks by checksum.

A pattern is `core` between neighbours it must not have (`before`, `after`). `partial()` turns the same source into
the pattern "this could still become a match", so that a stream knows what to hold back without a second, hand-made
grammar. `\\b` is not used: beside Chinese it never matches. All of it is matched on the normalised view (view.py).

It promises nothing about contexts ("my card is …"); it knows shapes, prefixes and checksums only.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

Check = Callable[[str], int]  # the matched text -> how many of its characters stand, 0 for none

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


# -- checks -------------------------------------------------------------------------------------------------------

_RANGES = (  # issuer ranges: first, last, digits in a number
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14, 16)),  # Diners Club
    ("36", "36", (14, 16)),
    ("38", "39", (14, 16)),
    ("6011", "6011", (16, 17, 18, 19)),  # Discover
    ("644", "659", (16, 17, 18, 19)),
    ("3500", "3599", (16, 17, 18, 19)),  # JCB
    ("2131", "2131", (15,)),
    ("1800", "1800", (15,)),
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("81", "81", (16, 17, 18, 19)),
    ("2200", "2204", (16, 19)),  # Mir
    ("60", "60", (16,)),  # RuPay
    ("82", "82", (16,)),
    ("50", "50", (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    ("56", "58", (13, 14, 15, 16, 17, 18, 19)),
    ("63", "63", (13, 14, 15, 16, 17, 18, 19)),
    ("67", "67", (13, 14, 15, 16, 17, 18, 19)),
)


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit())


def is_card(text: str) -> int:
    from stdnum import luhn  # noqa: PLC0415 - the checks load their libraries when first needed

    digits = _digits(text)
    issued = any(low <= digits[: len(low)] <= high and len(digits) in sizes for low, high, sizes in _RANGES)
    return len(text) if issued and luhn.is_valid(digits) else 0


_IBAN_LENGTHS = {
    country: int(size)
    for country, size in re.findall(
        "([A-Z]{2})([0-9]{2})",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 "
        "EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 "
        "KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 "
        "PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 "
        "UA29 VA22 VG24 XK20 YE30",
    )
}


def is_iban(text: str) -> int:
    """The country says how long it is, so capitals that follow it do not belong to it."""
    from stdnum import iban  # noqa: PLC0415

    places = [i for i, c in enumerate(text) if c.isalnum()]
    size = _IBAN_LENGTHS[text[:2].upper()]
    if len(places) < size:
        return 0
    end = places[size - 1] + 1
    if text[end : end + 1].isalnum() or not iban.is_valid(text[:end].replace(".", ""), check_country=False):
        return 0
    return end


def is_ssn(text: str) -> int:
    from stdnum.us import ssn  # noqa: PLC0415

    return len(text) if ssn.is_valid(_digits(text)) else 0


def is_resident_id(text: str) -> int:
    from stdnum.cn import ric  # noqa: PLC0415

    return len(text) if ric.is_valid("".join(c for c in text if c.isalnum()).upper()) else 0


def is_ip(text: str) -> int:
    """A real address; loopback, unspecified and netmasks say nothing about anybody."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return 0
    is_dull = address.is_loopback or address.is_unspecified or text.startswith("255.")
    return 0 if is_dull or not any(c.isdigit() for c in text) else len(text)  # add::bad is a word in C++


def is_email(text: str) -> int:
    return 0 if text.startswith("git@") else len(text)  # git@github.com:… is an address of a machine


_DATE = re.compile(r"(?:18|19|20)[0-9]{2}[ .-](?:0?[1-9]|1[0-2])[ .-]")
_AMERICAN = re.compile(r"\(?[2-9][0-9]{2}\)?[ .-]{1,2}[0-9]{3}[ .-][0-9]{4}(?:x[0-9]+)?")


def phone_check(regions: tuple[str, ...]) -> Check:
    """Written like a phone number and possible by a numbering plan; a bare run of digits is rarely one."""

    def is_phone(text: str) -> bool:
        import phonenumbers  # noqa: PLC0415 - the metadata of every country

        abroad = text.startswith("+")
        for region in (None,) if abroad else regions:
            try:
                number = phonenumbers.parse(text, region)
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number(number) or (abroad and phonenumbers.is_possible_number(number)):
                return True
        return False

    def check(text: str) -> int:
        if len(_digits(text)) > 15 or _DATE.match(text):  # longer than any plan allows
            return 0
        if _AMERICAN.fullmatch(text):  # the shape is enough: people mistype, and models invent
            return len(text)
        end = len(text)
        while end > 6:  # "555-0132 20" is a number and then something else: try without the last group
            if is_phone(text[:end]):
                return end
            end = max(text.rfind(gap, 0, end) for gap in " .-/)")
        return 0

    return check


def is_random(text: str) -> int:
    """Not a placeholder (sk-xxxxxxxx…) and not words with hyphens (sk-learn-…): enough different characters, and
    a digit or a capital after the prefix."""
    body = text[3:]
    is_mixed = any(c.isdigit() or c.isupper() for c in body)
    return len(text) if is_mixed and len(set(body)) >= 8 else 0


def is_very_random(text: str) -> int:
    """For short, ordinary prefixes (as-, pypi-): digits, capitals and small letters."""
    body = text[5:]
    mixed = (any(map(str.isdigit, body)), any(map(str.isupper, body)), any(map(str.islower, body)))
    return len(text) if all(mixed) and len(set(body)) >= 8 else 0


# -- the table ----------------------------------------------------------------------------------------------------


def _cards() -> list[Pattern]:
    first, four = "[1-68]", "[ .-]{0,3}[0-9]{4}"
    joined = [  # in one piece, or in the groups that are printed on cards
        f"{first}[0-9]{{12,18}}",
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
    for code in sorted(_IBAN_LENGTHS):
        by_letter[code[0]] = by_letter.get(code[0], "") + code[1]
    country = "(?:" + "|".join(f"{a}[{b}]" for a, b in by_letter.items()) + ")"
    small = country.lower()  # typed by hand, without groups
    return [
        Pattern("iban", rf"{country}[0-9]{{2}}(?:[ -]?[0-9A-Z]){{11,30}}", "[A-Z]{2}[0-9]", check=is_iban),
        Pattern("iban", rf"{small}[0-9]{{2}}[0-9a-z]{{11,30}}", "[a-z]{2}[0-9]", check=is_iban),
    ]


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
        Pattern("phone", "(?:86[ -]?)?1[3-9][0-9]{9}|0[0-9]{9,11}", digit, _NOT_NUMBER, _NUMBER_ENDS, phone),
        Pattern("ip", rf"{octet}(?:\.{octet}){{3}}", digit, not_ip, rf"{ALNUM}|\.[0-9]", is_ip),
        Pattern("ip", "[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{1,34}(?:[0-9.]{1,11})?", "[0-9A-Fa-f]{1,4}:",
                "(?<![0-9A-Za-z.])(?<![0-9A-Za-z:]:)", "[0-9A-Za-z:]", is_ip),
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
    ("vendor_key", "sk-or-v1-[0-9a-f]{32}", "sk-or-", is_random, _TOKEN_RUN),
    ("vendor_key", "gsk_[0-9A-Za-z]{40}", "gsk_", is_random, _TOKEN_RUN),
    ("vendor_key", "xai-[0-9A-Za-z]{60}", "xai-", is_random, _TOKEN_RUN),
    ("vendor_key", rf"SG\.{_WORD}{{16,32}}\.{_WORD}{{16}}", r"SG\.", is_random, _TOKEN_RUN),
    ("vendor_key", "r8_[0-9A-Za-z]{32}", "r8_", is_random, _TOKEN_RUN),
    ("vendor_key", f"dckr_pat_{_WORD}{{20}}", "dckr_pat_", is_random, _TOKEN_RUN),
    ("jwt", rf"eyJ{_WORD}{{8,140}}\.eyJ{_WORD}{{4}}", "eyJ", None, _DOTTED_RUN),
    ("jwt", f"eyJ{_JWT_HEADS}{_WORD}{{140}}", "eyJ", None, _DOTTED_RUN),
)


# Forty characters like any others: only what stands before them says what they are.
_AWS_SECRET = Pattern(
    "aws_key",
    "[0-9A-Za-z/+]{40}",
    "(?i:aws_secret_|secretacc)",
    check=is_random,
    run=_BASE64_RUN,
    lead="(?i:aws_secret_access_key|aws_secret_key|secretaccesskey)[\"']? {0,3}[:=]{1,2} {0,3}[\"']?",
)


def table(regions: tuple[str, ...]) -> tuple[Pattern, ...]:
    """Every pattern there is."""
    secrets = [
        Pattern(kind, core, head, "" if head.startswith("-") else NOT_INSIDE, "" if run else ALNUM, check, run)
        for kind, core, head, check, run in _SECRETS
    ]
    return (*secrets, _AWS_SECRET, *_cards(), *_ibans(), *_other_pii(regions))
