"""Addresses that would carry data away are taken apart before they are shown; ordinary links and code are not."""

import random
import re

import pytest

from functions.guardrails.markup import Fences
from functions.guardrails.stream import OutputFilter, check_input, check_json, check_text
from functions.guardrails.view import view_of
from tests.guardrails.corpus import MARKUP, plain
from tests.guardrails.policies import DEFAULT, policy

EVERY_IMAGE = policy("[markup]\nimage_chars = 0\n")
ALLOWING = policy('[markup]\nallowed_hosts = ["example.org", "img.example.net"]\nlink_chars = 20\n')


def shown(text: str) -> str:
    return check_text(DEFAULT, text).text


@pytest.mark.parametrize(("kind", "marked"), [(kind, value) for kind, values in MARKUP.items() for value in values])
def test_what_would_be_carried_away_is_never_shown_in_any_cut(kind: str, marked: str) -> None:
    rng = random.Random(marked)
    carried = [view_of(part)[0] for part in re.findall("«(.*?)»", marked)]
    for before, after in (("", ""), ("Look: ", " there."), ("见图\n", "\n完"), ("```\ncode\n```\n", "")):
        text = before + plain(marked) + after
        rails, out = OutputFilter(DEFAULT), ""
        at = 0
        while at < len(text):
            size = rng.randint(1, 9)
            out += rails.push(text[at : at + size])
            at += size
        out += rails.finish()

        assert not [part for part in carried if part in view_of(out)[0]], out
        assert f"[redacted: {kind}]" in out
        assert f"markup.{kind}" in {verdict.rail for verdict in rails.verdicts}


@pytest.mark.parametrize(
    "text",
    [
        "See [the manual](https://docs.python.org/3/library/re.html#re.compile) or https://example.com/a?id=3&page=12.",
        "![a cat](https://upload.example.com/cats/tabby-on-a-mat.jpg) sleeps.",
        "![local](/chart.png?v=3) and ![inline](data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA)",
        "[1]: https://arxiv.example/abs/1706.03762\n[^2]: see above",
        "vec![1, 2, 3][0](x); a[1](y)[2]: z; #![allow(dead_code)]; if a < b: c = d",
        "Use the `<script>` tag; onclick is an attribute, and one = two only once.",
        "C++: x = a?b:c; url(x); path/to/file?raw=1#L10-L20; a//b; ftp://host/x?y",
        "What is it? Is `a ? b : c` fine? 5 > 3 <https://example.com/>",
        "https://github.com/python/cpython/blob/0123456789abcdef0123456789abcdef01234567/Lib/re.py#L120",
        "https://example.com/how-to-sort-a-list-of-dictionaries-by-a-value-of-the-dictionary-in-python",
        "第一个（https://example.com/文档?页=3）；“!”[注](#脚注)",
        "mailto: <a href='https://example.com/?id=7'>x</a>",
    ],
)
def test_ordinary_addresses_and_code_come_out_whole(text: str) -> None:
    assert shown(text) == text


def test_what_is_left_of_an_image_loads_nothing() -> None:
    assert shown("a ![b](https://evil.example/?q=1) c") == "a ![b[redacted: image] c"
    assert shown("[b](javascript:x) c") == "[b[redacted: script] c"
    assert shown('<img src="https://evil.example/?q=1" alt="x">') == '<img src[redacted: html]" alt="x">'


def test_a_link_keeps_its_address_and_loses_its_data() -> None:
    data = "x" * 30 + "%20" + "y" * 30

    assert shown(f"[a](https://evil.example/p?{data}) b") == "[a](https://evil.example/p[redacted: link]) b"


def test_the_policy_names_hosts_that_may_and_how_much_is_too_much() -> None:
    image = "![x](https://{}/?q=swordfish)"
    for host in ("example.org", "a.b.example.org", "EXAMPLE.org:8443", "img.example.net"):
        assert check_text(ALLOWING, image.format(host)).verdicts == ()
    for host in (
        "notexample.org",
        "example.org.evil.example",
        "example.org@evil.example",
        "example.net",
        "ex\u0430mple.org",
    ):
        assert check_text(ALLOWING, image.format(host)).verdicts, host
    assert check_text(ALLOWING, "https://a.example/?q=" + "z" * 20).verdicts
    assert not check_text(DEFAULT, "https://a.example/?q=" + "z" * 20).verdicts


def test_with_zero_every_foreign_image_goes() -> None:
    assert check_text(EVERY_IMAGE, "![x](https://a.example/cat.png)").text == "![x[redacted: image]"
    assert check_text(EVERY_IMAGE, "![x](cat.png)").verdicts == ()


def test_input_and_tool_calls_may_hold_any_address() -> None:
    address = "https://api.example/?q=" + "a b c ".replace(" ", "+") * 30

    assert check_input(DEFAULT, f"![x]({address})").verdicts == ()
    assert check_json(DEFAULT, [{"arguments": f'{{"url": "{address}"}}'}]).verdicts == ()


# -- blocks of code -----------------------------------------------------------------------------------------------

IMAGE = "![x](https://evil.example/?q=1)"


@pytest.mark.parametrize(
    "text",
    [
        f"```\n{IMAGE}\n```",
        f"Here:\n\n```markdown\n{IMAGE}\n~~~\n{IMAGE}\n``\n{IMAGE}\n```\ndone",
        "~~~ html\n<img src='https://evil.example/?q=1'>\n```\n<script>\n~~~\n",
        f"`````\n```\n{IMAGE}\n```\n{IMAGE}\n`````\n",
        f"```\r\n{IMAGE}\r\n```\r\n",
        f"```\n{IMAGE}",
    ],
)
def test_nothing_is_rendered_in_a_block_of_code_so_nothing_is_taken(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"```\ncode\n```\n{IMAGE}",
        f"```{IMAGE}\n",  # the line that opens
        f"``` a`b\n{IMAGE}",  # no fence: a backtick in its words
        f"``\n{IMAGE}",
        f"- ```\n  code\n  ```\n{IMAGE}",  # in a list, where our eyes are too weak
        f"  ```\n{IMAGE}",
        f"> ```\n{IMAGE}",
        f"`{IMAGE}",
        f"<div>\n```\n\n{IMAGE}",  # HTML: the fence may be text
        f"<!--\n```\n-->\n{IMAGE}",
        f"$$\n```\n$$\n{IMAGE}",
        f"---\n```\n---\n{IMAGE}",
        f"```\ncode\n   ```   \n{IMAGE}",
        f"~~~\n~~~~\n{IMAGE}",
        "\u200b```\n" + IMAGE,  # on the screen it begins the line, for Markdown it does not
        f"```\n```{' ' * 1200}\n{IMAGE}",
    ],
)
def test_what_only_looks_like_a_block_of_code_is_not_trusted(text: str) -> None:
    assert "q=1" not in shown(text)


def test_a_run_taken_over_inside_a_block_of_code_knows_it() -> None:
    before = "```md\n![x]"

    assert OutputFilter(DEFAULT, prior=before).push("(https://evil.example/?q=1)\n") == "(https://evil.example/?q=1)\n"
    rails = OutputFilter(DEFAULT, prior=before + "\n```\n![x")
    assert rails.push("](https://evil.example/?q=1)\n") == "[redacted: image]\n"


def test_an_image_is_still_one_when_something_in_its_text_was_taken_out() -> None:
    text = "![4111111111111111 a@b](https://evil.example/?q=1)"
    for cut in range(len(text)):
        rails = OutputFilter(DEFAULT)

        assert rails.push(text[:cut]) + rails.push(text[cut:]) + rails.finish() == (
            "![[redacted: card] a@b[redacted: image]"
        )


def test_a_find_that_swallows_a_line_break_moves_the_fence_for_everybody() -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "aB3dE6gH9jK2mN5p" * 4 + "\n\n"
    text = f"{key}```\n{IMAGE}"

    assert "q=1" not in shown(text)


def test_fences_know_the_same_however_the_text_arrives() -> None:
    text = f"a\n```py\nx\r\n```\r\n<b>\n~~~\n{IMAGE}"
    for cut in range(len(text)):
        fences = Fences()
        fences.feed(text[:cut])
        whole = Fences()

        assert fences.has_code_after(text[cut:]) == whole.has_code_after(text)
