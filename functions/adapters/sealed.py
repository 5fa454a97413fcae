"""Messages as a cache that nobody trusts may hold them: sealed for their place, and read back strictly.

    1 byte    FORM
    32 bytes  HMAC-SHA256 over (owner, chat, message id, edition) and the body
    1 byte    length of the edition, and the edition
    the rest  the message as JSON, as the stores have it

Promises: what `open` gives was sealed with this key for this owner, chat and message id, under the edition it says;
anything else (other bytes, another's value, half of one) is None. It may be old: the edition tells. Not encrypted.

Also where it is kept: names without anybody's name or id in them.
"""

import hmac

import msgspec

from functions.chat.messages import Message

FORM = b"1"
DIGEST_BYTES = 32

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Message).decode


class Seals:
    """With one deployment's key; `house` tells its store from others that share the cache and the key."""

    def __init__(self, secret_key: bytes, house: str) -> None:
        self._key = hmac.digest(secret_key, encode(("parley hot cache", house)), "sha256")

    def group(self, owner: str) -> str:
        """Where the places of one owner are listed. The braces keep all of them on one node of a cluster."""
        return f"parley:hot:{{{self._name(owner)}}}"

    def place(self, owner: str, chat_id: str) -> str:
        """Where one chat is kept."""
        return f"{self.group(owner)}:{self._name(owner, chat_id)}"

    def _name(self, *parts: str) -> str:
        return hmac.digest(self._key, b"name" + encode(parts), "sha256").hex()[:32]

    def seal(self, owner: str, chat_id: str, edition: str, message: Message) -> bytes:
        body = encode(message)
        mark = edition.encode()
        digest = self._digest(owner, chat_id, message.id, edition, body)
        return b"".join((FORM, digest, bytes((len(mark),)), mark, body))

    def open(self, owner: str, chat_id: str, message_id: str, sealed: bytes) -> tuple[str, Message] | None:
        """(edition, message), or None when it is not what was sealed for this place."""
        digest, rest = sealed[1 : DIGEST_BYTES + 1], sealed[DIGEST_BYTES + 1 :]
        if sealed[:1] != FORM or not rest:
            return None
        end = 1 + rest[0]
        edition, body = rest[1:end].decode(errors="replace"), rest[end:]
        if not hmac.compare_digest(digest, self._digest(owner, chat_id, message_id, edition, body)):
            return None
        try:
            return edition, decode(body)
        except msgspec.DecodeError:  # another version of Parley sealed it
            return None

    def _digest(self, owner: str, chat_id: str, message_id: str, edition: str, body: bytes) -> bytes:
        place = encode((owner, chat_id, message_id, edition))
        return hmac.digest(self._key, len(place).to_bytes(4, "big") + place + body, "sha256")
