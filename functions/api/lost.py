"""The page for a person who has mistyped an address; programs get JSON.

It stands by itself: no script, no style, nothing to load, so the headers of every answer hold for it as they are.
"""

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

_PAGE = """\
<!doctype html>
<html lang="{lang}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{title} · Parley</title>
<h1>{title}</h1>
<p>{text}</p>
<p><a href="/">{home}</a></p>
</html>
"""
_WORDS = {
    "en": {
        "title": "There is no such page",
        "text": "The address is mistyped, or what was here has gone.",
        "home": "To your chats",
    },
    "zh": {"title": "没有这个页面", "text": "地址可能有误，或者这里的内容已经不在了。", "home": "回到对话"},
}
_LANG = {"en": "en", "zh": "zh-Hans"}


def is_a_person(request: Request) -> bool:
    """A browser that opens an address: it asks for HTML by name, and rather than for JSON."""
    wanted = _weights(request.headers.get("accept", ""))
    return request.method in ("GET", "HEAD") and wanted.get("text/html", 0) > wanted.get("application/json", 0)


def page(request: Request) -> Response:
    """Status 404, in English or Chinese, whichever is liked better."""
    liked: dict[str, float] = {}
    for name, weight in _weights(request.headers.get("accept-language", "")).items():
        tongue = name.partition("-")[0]
        liked[tongue] = max(weight, liked.get(tongue, 0))
    lang = "zh" if liked.get("zh", 0) > liked.get("en", 0) else "en"
    return HTMLResponse(
        _PAGE.format(lang=_LANG[lang], **_WORDS[lang]),
        404,
        {"vary": "Accept, Accept-Language", "x-robots-tag": "noindex"},
    )


def _weights(header: str) -> dict[str, float]:
    """What a header of choices says, by its name in small letters; what cannot be read counts nothing. Where two weigh
    the same, the first is liked better."""
    weights: dict[str, float] = {}
    for place, part in enumerate(header.lower().split(",")[:32]):
        name, _, given = part.partition(";")
        try:
            weight = float(given.partition("q=")[2] or 1)
        except ValueError:
            continue
        weights.setdefault(name.strip(), weight - place / 10_000)
    return weights
