"""What makes a shape certain: checksums, issuer ranges, numbering plans, randomness.

A check takes the text that a pattern matched and says how many of its characters stand, 0 for none. It knows neither
where the text stood nor what is done about it.
"""

import ipaddress
import re
from collections.abc import Callable
from functools import cache

Check = Callable[[str], int]

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
    *((first, first, (12,)) for first in ("5018", "5020", "5038", "5893", "6304", "6759", "6761", "6762", "6763")),
)
_RANGES_OF = {  # by the first digit
    digit: [(low, high, sizes) for low, high, sizes in _RANGES if low[0] == digit] for digit in "0123456789"
}
_NO_DIGITS = re.compile("[^0-9]+")


def _digits(text: str) -> str:
    return _NO_DIGITS.sub("", text)


def is_card(text: str) -> int:
    from stdnum import luhn  # noqa: PLC0415 - the checks load their libraries when first needed

    digits = _digits(text)
    issued = any(
        len(digits) in sizes and low <= digits[: len(low)] <= high for low, high, sizes in _RANGES_OF[digits[0]]
    )
    return len(text) if issued and luhn.is_valid(digits) else 0


IBAN_LENGTHS = {
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
    size = IBAN_LENGTHS[text[:2].upper()]
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
    from stdnum.exceptions import ValidationError  # noqa: PLC0415

    number = "".join(c for c in text if c.isalnum()).upper()
    if len(number) != 18 or number[-1] != ric.calc_check_digit(number):
        return 0
    try:
        ric.get_birth_place(number)  # a county that was there in the year of birth; says no to what is no date
    except ValidationError:
        return 0
    return len(text)


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


def is_mrz(text: str) -> int:
    """A line of a travel document whose check digits are right; the line with the name has none, but its fillers."""
    match len(text), text[0]:
        case 44, "P" if not text[21:27].isdigit():
            stands = "<<" in text.rstrip("<")[5:] and text[5].isalpha()
        case 44 | 36, _:
            stands = all(map(_has_check_digit, (text[:10], text[13:20], text[21:28])))
            whole = text[:10] + text[13:20] + text[21:]
            stands = stands and _has_check_digit(whole)
        case 30, first if first.isalpha():
            stands = _has_check_digit(text[5:15])
        case _:
            stands = _has_check_digit(text[:7]) and _has_check_digit(text[8:15])
    return len(text) if stands else 0


def _has_check_digit(field: str) -> bool:
    """Weights 7, 3, 1 over digits, letters from 10 on and `<` as 0, modulo 10 (ICAO 9303, part 3)."""
    values = [0 if c == "<" else int(c, 36) for c in field[:-1]]
    total = sum(value * (7, 3, 1)[place % 3] for place, value in enumerate(values))
    return total % 10 == (0 if field[-1] == "<" else int(field[-1], 36))


_IPV4 = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\.?[0-9])")
_DATE = re.compile(r"(?:18|19|20)[0-9]{2}[ .-](?:0?[1-9]|1[0-2])[ .-]")
_PAIRS = re.compile(r"[1-9][0-9](?:[ .-][0-9]{2})+")  # a row of numbers: those who write telephones so begin with 0
_AMERICAN = re.compile(r"\(?[2-9][0-9]{2}\)?[ .-]{1,2}[0-9]{3}[ .-][0-9]{4}(?:x[0-9]+)?")


def _is_other(text: str) -> bool:
    return bool(_DATE.match(text) or _IPV4.match(text))


@cache
def _forms(region: str) -> re.Pattern[str] | None:
    """What any number of a region looks like, with or without the prefixes that are dialled before it."""
    from phonenumbers import PhoneMetadata  # noqa: PLC0415

    plan = PhoneMetadata.metadata_for_region(region)
    if plan is None or plan.general_desc is None or not (number := plan.general_desc.national_number_pattern):
        return None
    prefix = re.escape(plan.national_prefix or "")
    return re.compile(f"(?:{plan.country_code})?(?:{prefix})?(?:{number})")


def _has_form_of(region: str, digits: str) -> bool:
    """Asked first: the library takes fifty times as long to say no."""
    forms = _forms(region)
    return bool(forms and forms.fullmatch(digits))


def phone_check(regions: tuple[str, ...]) -> Check:
    """Written like a phone number and possible by a numbering plan; a bare run of digits is rarely one."""

    def is_phone(text: str) -> bool:
        import phonenumbers  # noqa: PLC0415 - the metadata of every country

        abroad = text.startswith("+")
        for region in (None,) if abroad else regions:
            if region and not _has_form_of(region, _digits(text)):
                continue
            try:
                number = phonenumbers.parse(text, region)
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number(number) or (abroad and phonenumbers.is_possible_number(number)):
                return True
        return False

    def check(text: str) -> int:
        if len(_digits(text)) > 15 or _is_other(text) or _PAIRS.fullmatch(text):  # longer than any plan allows
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


def spoken_phone(text: str) -> int:
    """What follows "call me on": any shape of a telephone number, if it is no date, address or year."""
    return 0 if _is_other(text) or len(set(_digits(text))) < 3 else len(text)


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
