"""One message of ChatGPT's as text: what its reader saw of it, pictures and files as notes in brackets."""

import json
import re
from typing import Any

from functions.chat.messages import Role
from functions.importing.values import clean

# Where an answer names its sources: `【12†source】` in older exports, private characters in newer ones.
_OLD_MARK = re.compile(r"【\d{1,6}(?::\d{1,6})?†[^】\n]{0,200}】")
_NEW_MARK = re.compile("\ue200([^\ue200\ue201]{0,2000})\ue201")
_NOTES = {
    "image_asset_pointer": "[image]",
    "audio_asset_pointer": "[audio]",
    "video_container_asset_pointer": "[video]",
    "real_time_user_audio_video_asset_pointer": "[audio]",
}
# What ChatGPT keeps for itself, or shows folded away: reasoning, pages that it has read, its memory of the user.
_UNSEEN = frozenset({
    "thoughts",
    "reasoning_recap",
    "user_editable_context",
    "model_editable_context",
    "tether_browsing_display",
    "tether_quote",
    "sonic_webpage",
})  # fmt: skip
_RUNS_CODE = ("python", "code_interpreter")


def role_of(message: Any) -> Role | None:  # of a file, so of any type
    """Whose it is; None for what its reader did not see."""
    if not isinstance(message, dict):
        return None
    author, metadata = message.get("author"), message.get("metadata")
    role = author.get("role") if isinstance(author, dict) else None
    is_hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation") is True
    if is_hidden or message.get("weight") == 0:
        return None
    return "user" if role == "user" else "assistant" if role in ("assistant", "tool") else None


def text_of(message: Any) -> str:  # of a file, so of any type
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, dict):
        return ""
    kind = content.get("content_type")
    author = message.get("author")
    role = author.get("role") if isinstance(author, dict) else None
    recipient = message.get("recipient") or "all"
    if kind in _UNSEEN:
        return ""
    if kind == "execution_output":
        return fenced(clean(content.get("text")), "text")
    if role == "tool":  # of what tools say only pictures were shown
        return _parts(content) if kind == "multimodal_text" else ""
    if recipient != "all":
        return fenced(clean(content.get("text")) or _parts(content), "python") if recipient in _RUNS_CODE else ""
    if kind == "code":
        language = clean(content.get("language"), 30)
        return fenced(clean(content.get("text")), language if language.isalnum() and language != "unknown" else "")
    text = _parts(content) or clean(content.get("text"))
    return "\n\n".join(filter(None, (*_attachments(message), without_marks(text).strip())))


def fenced(code: str, language: str) -> str:
    """Between fences that are longer than any in it."""
    if not code.strip():
        return ""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"


def without_marks(text: str) -> str:
    return _NEW_MARK.sub(_spoken, _OLD_MARK.sub("", text))


def _spoken(mark: re.Match[str]) -> str:
    """Marks that name a thing, or link to a page, stand for words; those that name a source, for none."""
    kind, _, rest = mark[1].partition("\ue202")
    if kind == "entity":
        try:
            named = json.loads(rest)
        except (ValueError, RecursionError):
            return ""
        return clean(named[1], 500) if isinstance(named, list) and len(named) > 1 else ""
    return rest.partition("\ue202")[0] if kind == "url" else ""


def _parts(content: dict[str, Any]) -> str:
    parts = content.get("parts")
    return "\n\n".join(filter(None, map(_part, parts if isinstance(parts, list) else [])))


def _part(part: Any) -> str:  # of a file, so of any type
    if isinstance(part, str):
        return clean(part)
    if not isinstance(part, dict):
        return ""
    kind = part.get("content_type")
    return clean(part.get("text")) or (_NOTES.get(kind, "[attachment]") if isinstance(kind, str) else "")


def _attachments(message: dict[str, Any]) -> list[str]:
    metadata = message.get("metadata")
    found = metadata.get("attachments") if isinstance(metadata, dict) else None
    files = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    named = [(clean(one.get("name"), 200), clean(one.get("mime_type"), 100)) for one in files]
    # A picture is noted where it stands in the text.
    return [f"[file: {name}]" for name, kind in named if name and not kind.startswith("image/")]
