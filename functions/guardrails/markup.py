"""Markup in an answer that would carry data away or run something, once a client renders it.

A model that was talked into it hides what it knows in an address: an image loads by itself, a link waits for a click.

    image    `![…](…)` and `[…]: …`: to a foreign host with data in the address
    link     any address of a foreign host with much data in it
    html     the same in attributes that load by themselves: `<img src=…>`
    script   `javascript:`, `vbscript:` and `data:` addresses, `<script>`, `onerror=…`

Foreign is every host but those that the policy allows and their subdomains; data is what follows `?` or `#`. Nothing is
rendered inside a fenced block of code, so nothing is looked for there (`Fences`). It promises no sanitised HTML: that
is the client's work; it takes the data out of addresses before they are shown.
"""

import re
from collections.abc import Callable

from functions.guardrails.patterns import Pattern, Run
from functions.guardrails.policy import MarkupPolicy

LOOK_BACK_CHARS = 128  # how far before `]` or `?` its beginning is sought; what is longer counts as the worse case
_PATH_CHARS = 100  # an address with more before its data is not waited for

_ADDRESS = r"(?:https?:)?[/\\]{2}"
_GAP = r"[ \n\t]{0,3}"
_LOADING = (
    "src|href|data|poster|background|action|formaction|xlink:href|url|ping|codebase|archive|longdesc|manifest|srcset|"
    "imagesrcset|icon|lowsrc|dynsrc"
)
_IMAGE = re.compile(r"!\[(?:(?!\]\()[\s\S])*\Z")
_LONG_TEXT = re.compile(rf"[^\[]{{{LOOK_BACK_CHARS}}}\Z")
_LABEL = re.compile(r"\[[^\[\]\n]{0,110}\Z")
_TAG = re.compile(r"<(?![aA][\s>/])[a-zA-Z][^<>]*\Z")
_LONG_TAG = re.compile(rf"[^<>]{{{LOOK_BACK_CHARS}}}\Z")
_ATTRIBUTE = re.compile(rf"(?i:(?:[\s\"'/;]|\A)(?:{_LOADING}))[ \n\t]{{0,3}}\Z")
_URL = re.compile(r"(?:https?:[/\\]{0,3}|www\.)([^\s<>()\"']*)\Z", re.IGNORECASE)
_LONG_URL = re.compile(rf"[^\s<>()\"']{{{LOOK_BACK_CHARS}}}\Z")
_HOST = re.compile(r"[/\\]{2}([^\s/\\?#)>\"']*)")


def markup_patterns(policy: MarkupPolicy) -> tuple[Pattern, ...]:
    """Every pattern there is, for the kinds `image`, `link`, `html` and `script`."""

    def is_foreign(text: str) -> int:
        """Of an address as it is written in markup: its length, 0 for an allowed host."""
        found = _HOST.search(text)
        return 0 if found and _is_allowed(found[1], policy.allowed_hosts) else len(text)

    def in_foreign_url(view: str, at: int) -> bool:
        before = view[max(0, at - LOOK_BACK_CHARS) : at]
        if found := _URL.search(before):
            host = re.split(r"[/\\?#]", found[1], maxsplit=1)[0]
            return not _is_allowed(host, policy.allowed_hosts)
        return bool(_LONG_URL.search(before))

    return (*_addresses(policy.image_chars, is_foreign), *_links(policy.link_chars, in_foreign_url), *_scripts())


def _addresses(data_chars: int, is_foreign: Callable[[str], int]) -> list[Pattern]:
    """What loads by itself: images, the definitions that images may refer to, attributes."""

    def address(stop: str) -> str:
        plain = f"[^{stop}?#]"
        with_data = rf"{plain}{{1,{_PATH_CHARS}}}[?#][^{stop}]{{{data_chars}}}|{plain}{{{_PATH_CHARS + 1}}}"
        return f"{_ADDRESS}(?:{with_data if data_chars else plain})"

    dest, value = address(r"\s)>"), address(r"\s\"'<>")
    run = Run(re.compile(r"[^\s)]*"), (re.compile(r"\)"), re.compile(r"\)")))
    return [
        Pattern("image", rf"\]\({_GAP}<?{dest}", r"\]\(", "", check=is_foreign, run=run, context=_is_image),
        Pattern("image", rf"\]:{_GAP}<?{dest}", r"\]:", "", check=is_foreign, run=run, context=_is_label),
        Pattern("html", rf"={_GAP}[\"']?{_GAP}{value}", "=", "", check=is_foreign,
                run=Run(re.compile(r"[^\s\"'<>]*")), context=_is_attribute),
        Pattern("html", rf"\({_GAP}[\"']?{_GAP}{value}", r"\(", "", check=is_foreign,
                run=Run(re.compile(r"[^\s\"'<>)]*")), context=_is_css_url),
    ]  # fmt: skip


def _links(data_chars: int, in_foreign_url: Callable[[str, int], bool]) -> list[Pattern]:
    run = Run(re.compile(r"[^\s<>()\"']*"))
    long_name = Run(re.compile(r"[^\s<>()\"'/?#]*"))
    return [
        Pattern("link", rf"[?#][^\s<>()\"']{{{data_chars}}}", "[?#]", "", run=run, context=in_foreign_url),
        # One long word is no title: sixty-four letters of Base64 or hexadecimal in a path, forty in a host's name.
        Pattern("link", "/[0-9A-Za-z%+=~]{64}", "/[0-9A-Za-z%+=~]", "", run=long_name, context=in_foreign_url),
        Pattern("link", "//[0-9A-Za-z_-]{40}", "//[0-9A-Za-z_-]", "", run=long_name, context=_is_scheme),
    ]


def _scripts() -> list[Pattern]:
    scheme = r"(?:(?i:javascript|vbscript)[ \n\t]{0,2}:|(?i:data):[^\s)>]{6}|[^\s)>:/?&]{0,12}&(?:#|[A-Za-z]{2,8};))"
    run = Run(re.compile(r"[^\s)]*"), (re.compile(r"\)"), re.compile(r"\)")))
    return [
        Pattern("script", rf"\][(:]{_GAP}<?{scheme}", r"\][(:]", "", check=_is_active, run=run),
        Pattern("script", rf"={_GAP}[\"']?{_GAP}{scheme}", "=", "", check=_is_active,
                run=Run(re.compile(r"[^\"'<>]*")), context=_is_in_tag),
        Pattern("script", r"(?i:on)[A-Za-z]{3,20}[ \n\t]{0,3}=", "[oO][nN][A-Za-z]", "", context=_is_in_tag),
        Pattern("script", r"<(?i:script)[\s/>]", "<[sS][cC]", "", context=_is_not_quoted),
    ]  # fmt: skip


def _is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    name = host.rpartition("@")[2].partition(":")[0].lower().rstrip(".")
    return any(name == one or name.endswith(f".{one}") for one in allowed)


def _is_active(text: str) -> int:
    """Not the `data:` address of a plain picture."""
    return 0 if re.search(r"(?i:data):image(?!/svg)", text) else len(text)


def _before(view: str, at: int) -> str:
    return view[max(0, at - LOOK_BACK_CHARS) : at]


def _is_image(view: str, at: int) -> bool:
    before = _before(view, at)
    return bool(_IMAGE.search(before) or _LONG_TEXT.search(before))


def _is_label(view: str, at: int) -> bool:
    return bool(_LABEL.search(_before(view, at)))


def _is_in_tag(view: str, at: int) -> bool:
    before = _before(view, at)
    return bool(re.search(r"<[a-zA-Z][^<>]*\Z", before))


def _is_attribute(view: str, at: int) -> bool:
    before = _before(view, at)
    return bool(_ATTRIBUTE.search(before) and (_TAG.search(before) or _LONG_TAG.search(before)))


def _is_css_url(view: str, at: int) -> bool:
    return view[max(0, at - 3) : at].lower() == "url"


def _is_scheme(view: str, at: int) -> bool:
    return view[max(0, at - 6) : at].lower().endswith(("http:", "https:"))


def _is_not_quoted(view: str, at: int) -> bool:
    return view[at - 1 : at] != "`"


class Fences:
    """Whether the text that is shown has come to stand inside a fenced block of code.

    Fed with exactly what is shown, so a run that is taken over knows the same from its prior text. It knows less than
    Markdown and errs to one side: only fences at the very beginning of a line open a block; and once a line has begun
    with HTML, a formula or front matter, in which fences mean nothing, no block counts as code any more.
    """

    __slots__ = ("_fence", "_is_first", "_line", "_trusts")

    _OPENS = re.compile(r"(`{3,})[^`]*|(~{3,}).*")
    _CONFUSES = re.compile(r"\s*(?:<[A-Za-z!/?]|\$\$|\\\[)")
    _LINE_CHARS = 1000

    def __init__(self) -> None:
        self._line = ""
        self._fence = ""  # of the open block
        self._is_first = self._trusts = True

    def feed(self, shown: str) -> None:
        if "\n" not in shown and "\r" not in shown:
            self._line += shown
            if len(self._line) > self._LINE_CHARS:  # a fence so long that it cannot be told
                self._trusts, self._line = False, ""
            return
        *lines, rest = re.split(r"\r\n|\n|\r", self._line + shown)
        for line in lines:
            self._end(line)
        self._line = ""
        self.feed(rest)

    def has_code_after(self, pending: str) -> bool:
        """Whether what follows `pending`, which is about to be shown, stands in a block of code."""
        ahead = Fences()
        ahead._line, ahead._fence, ahead._is_first, ahead._trusts = (
            self._line,
            self._fence,
            self._is_first,
            self._trusts,
        )
        ahead.feed(pending)
        return ahead._trusts and bool(ahead._fence)

    def _end(self, line: str) -> None:
        if self._fence:
            bare = line.strip(" \t")
            indent = len(line) - len(line.lstrip(" "))
            if indent <= 3 and bare and set(bare) == {self._fence[0]} and len(bare) >= len(self._fence):
                self._fence = ""
        elif opened := self._OPENS.fullmatch(line):
            self._fence = opened[1] or opened[2]
        elif self._CONFUSES.match(line) or (self._is_first and line.startswith(("---", "+++"))):
            self._trusts = False
        self._is_first = False
