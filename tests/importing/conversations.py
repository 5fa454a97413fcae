"""Conversations as ChatGPT's export has them."""

from typing import Any

T0 = 1_700_000_000.25


def node(name: str, parent: str | None, message: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"id": name, "parent": parent, "children": [], "message": message}


def said(role: str, *parts: Any, at: float | None = T0, **more: Any) -> dict[str, Any]:
    content = more.pop("content", {"content_type": "text", "parts": list(parts)})
    return {"author": {"role": role}, "create_time": at, "content": content, "weight": 1.0, "recipient": "all"} | more


def conversation(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    mapping = {one["id"]: one for one in nodes}
    for one in nodes:
        if one["parent"] in mapping:
            mapping[one["parent"]]["children"].append(one["id"])
    values = {"title": "Bees", "create_time": T0, "update_time": T0 + 60, "conversation_id": "c-1"}
    return values | {"mapping": mapping, "current_node": nodes[-1]["id"] if nodes else None} | more


def simple(number: int, text: str = "Hello") -> dict[str, Any]:
    return conversation(
        node("root", None),
        node("q", "root", said("user", f"{text} {number}")),
        node("a", "q", said("assistant", f"Hi {number}", at=T0 + 1, metadata={"model_slug": "gpt-4o"})),
        conversation_id=f"c-{number}",
        title=f"Chat {number}",
        update_time=T0 + number,
    )
