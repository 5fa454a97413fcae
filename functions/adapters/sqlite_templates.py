"""Templates as SQL: one row each, in the order of their ids."""

import sqlite3

import msgspec

from functions.chat.messages import Template

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Template).decode


def list_templates(db: sqlite3.Connection, owner: str) -> tuple[Template, ...]:
    rows = db.execute("SELECT data FROM templates WHERE owner = ? ORDER BY id", (owner,))
    return tuple(_decode(data) for (data,) in rows)


def put_template(db: sqlite3.Connection, owner: str, template: Template) -> None:
    db.execute(
        "INSERT OR REPLACE INTO templates (owner, id, data) VALUES (?, ?, ?)", (owner, template.id, _encode(template))
    )


def delete_template(db: sqlite3.Connection, owner: str, template_id: str) -> bool:
    return bool(db.execute("DELETE FROM templates WHERE owner = ? AND id = ?", (owner, template_id)).rowcount)
