"""A conversation of ChatGPT's export as a chat: a tree of nodes, of many kinds, as messages of two roles.

    mapping: node ── parent ──> node          system, hidden, tool calls, reasoning: passed over
      user                                    user
      assistant (a call) ┐
      tool (its output)  ├ one answer         assistant
      assistant          ┘

Nodes of one side that follow each other are one message, in every branch for itself. Pure: a value in, values out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from functions.chat.messages import Chat, Message, Role
from functions.importing.pieces import role_of, text_of
from functions.importing.values import Unusable, Whole, bounded, clean, id_of, moment, seconds
from functions.settings import IMPORT_CHAT_BYTES

COPIES = 200_000  # of nodes into further branches: a tree of people's making has some dozens
Node = dict[str, Any]  # the file's own


def read_conversation(value: Any, salt: str) -> Whole:  # of a file, so of any type
    """Raises Unusable."""
    if not isinstance(value, dict) or not isinstance(value.get("mapping"), dict):
        raise Unusable("damaged")
    mapping: dict[str, Node] = {k: v for k, v in value["mapping"].items() if isinstance(v, dict)}
    begun_s = seconds(value.get("create_time")) or 0.0
    tree = _Tree.of(mapping)
    source = clean(value.get("conversation_id") or value.get("id")) or f"{value.get('title')} {begun_s}"
    chat_id = id_of(salt, source, int(begun_s * 1000))
    writing = _Writing(tree, salt, source, chat_id, begun_s)
    writing.write()
    messages = tuple(sorted(writing.messages, key=lambda message: message.id))
    if not messages:
        raise Unusable("circular" if tree.is_circular else "empty")
    updated_s = max(seconds(value.get("update_time")) or begun_s, begun_s)
    chat = Chat(
        id=chat_id,
        title=clean(value.get("title"), 1024).strip() or None,
        model=None,  # theirs is not served here
        system_prompt=None,
        created_at=moment(begun_s),
        updated_at=moment(updated_s),
        pinned=value.get("is_starred") is True,
        archived=value.get("is_archived") is True,
        active_leaf=writing.leaf(value.get("current_node"), mapping) or messages[-1].id,
    )
    return Whole(chat=chat, messages=messages)


@dataclass(slots=True)
class _Tree:
    """The nodes that have something to read, under the nearest such node above."""

    said: dict[str, tuple[Role, str]]
    nodes: dict[str, Node]
    roots: list[str]
    below: dict[str, list[str]]
    is_circular: bool

    @classmethod
    def of(cls, mapping: dict[str, Node]) -> "_Tree":
        children: dict[str | None, list[str]] = {}
        for name, node in mapping.items():
            parent = node.get("parent")
            # What hangs on a node that is not there (any more) stands on its own.
            children.setdefault(parent if isinstance(parent, str) and parent in mapping else None, []).append(name)
        said: dict[str, tuple[Role, str]] = {}
        roots: list[str] = []
        below: dict[str, list[str]] = {}
        stack: list[tuple[str, str | None]] = [(name, None) for name in reversed(children.get(None, []))]
        reached = 0
        while stack:  # a cycle hangs on no root, so none is ever entered
            name, above = stack.pop()
            reached += 1
            message = mapping[name].get("message")
            role, text = role_of(message), text_of(message)
            if role is not None and text:
                said[name] = role, text
                (roots if above is None else below.setdefault(above, [])).append(name)
                above = name
            stack += ((child, above) for child in reversed(children.get(name, [])))
        return cls(said, mapping, roots, below, reached < len(mapping))


@dataclass(slots=True)
class _Writing:
    """Walks the tree from its roots and writes a message wherever the side changes, or a branch ends."""

    tree: _Tree
    salt: str
    source: str
    chat_id: str
    begun_s: float
    messages: list[Message] = field(default_factory=list)
    _of_node: dict[str, str] = field(default_factory=dict)  # a node -> the first message that it is in
    _bytes: int = 0
    _copied: int = 0

    def write(self) -> None:
        stack: list[tuple[str, tuple[str, int, float] | None, list[str]]]
        stack = [(root, None, []) for root in reversed(self.tree.roots)]
        while stack:
            name, parent, group = stack.pop()
            group.append(name)
            role, below = self.tree.said[name][0], self.tree.below.get(name, [])
            same = [child for child in below if self.tree.said[child][0] == role]
            others = [child for child in below if self.tree.said[child][0] != role]
            if others or not same:
                written = self._message(group, role, parent)
                stack += ((child, written, []) for child in reversed(others))
            for n, child in enumerate(same):
                is_last = n == len(same) - 1
                stack.append((child, parent, group if is_last else self._copy(group)))

    def _copy(self, group: list[str]) -> list[str]:
        self._copied += len(group)
        if self._copied > COPIES:
            raise Unusable("too_large")
        return group.copy()

    def _message(self, group: list[str], role: Role, parent: tuple[str, int, float] | None) -> tuple[str, int, float]:
        """Gives its id, the milliseconds in it, and when it was written."""
        text = bounded("\n\n".join(self.tree.said[name][1] for name in group))
        self._bytes += len(text.encode())
        if self._bytes > IMPORT_CHAT_BYTES:
            raise Unusable("too_large")
        sources = [self.tree.nodes[name]["message"] for name in group]
        times = [at for one in sources if (at := seconds(one.get("create_time"))) is not None]
        at_s = times[-1] if times else parent[2] if parent else self.begun_s
        # Messages are in the order of their ids, so an answer's comes after its question's whatever the clocks said.
        at_ms = max(int(at_s * 1000), parent[1] + 1 if parent else 0)
        message_id = id_of(self.salt, f"{self.source}\0{group[-1]}", at_ms)
        status, model = _end_of(sources[-1]), _model_of(sources)
        message = Message(
            id=message_id,
            chat_id=self.chat_id,
            parent_id=parent[0] if parent else None,
            role=role,
            content=text,
            created_at=moment(at_s),
            status=status if role == "assistant" else "complete",
            model=model if role == "assistant" else None,
        )
        self.messages.append(message)
        for name in group:
            self._of_node.setdefault(name, message_id)
        return message_id, at_ms, at_s

    def leaf(self, node: Any, mapping: dict[str, Node]) -> str | None:  # of a file, so of any type
        """The message that was read last: that of this node, or of the nearest one above that has one."""
        for name in _upwards(node, mapping):
            if name in self._of_node:
                return self._of_node[name]
        return None


def _upwards(node: Any, mapping: dict[str, Node]) -> Iterator[str]:  # of a file, so of any type
    seen: set[str] = set()
    while isinstance(node, str) and node in mapping and node not in seen:
        seen.add(node)
        yield node
        node = mapping[node].get("parent")


def _end_of(message: Node) -> Literal["stopped", "complete"]:
    details = (
        (message.get("metadata") or {}).get("finish_details") if isinstance(message.get("metadata"), dict) else None
    )
    return "stopped" if isinstance(details, dict) and details.get("type") == "interrupted" else "complete"


def _model_of(messages: list[Node]) -> str | None:
    for message in reversed(messages):
        metadata = message.get("metadata")
        if isinstance(metadata, dict) and (name := clean(metadata.get("model_slug"), 200)):
            return name
    return None
