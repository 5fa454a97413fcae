"""Templates in DynamoDB: a small item each, beside their owner's chats. Synchronous: run on `dynamo`'s threads."""

import msgspec

from functions.adapters.dynamo_calls import Refused, ask
from functions.adapters.dynamo_models import Tables, owner_pk, template_sk
from functions.chat.messages import Template

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Template).decode


def list_templates(t: Tables, owner: str) -> tuple[Template, ...]:
    rows = ask(lambda: list(t.chat.query(owner_pk(owner), t.chat.sk.startswith("Y#"), consistent_read=True)))
    return tuple(_decode(row.data) for row in rows)


def put_template(t: Tables, owner: str, template: Template) -> None:
    ask(t.chat(owner_pk(owner), template_sk(template.id), data=_encode(template)).save)


def delete_template(t: Tables, owner: str, template_id: str) -> bool:
    item = t.chat(owner_pk(owner), template_sk(template_id))
    try:
        ask(lambda: item.delete(t.chat.pk.exists()))
    except Refused:
        return False
    return True
