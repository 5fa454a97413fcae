"""Page cursors as the wire carries them: opaque, and signed for their owner, so that nobody can make one up."""

import base64
import binascii
import hashlib
import hmac

from functions.errors import BadInput

_MAC_BYTES = 12


def seal(key: bytes, owner: str, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    raw = cursor.encode()
    return base64.urlsafe_b64encode(_mac(key, owner, raw) + raw).decode().rstrip("=")


def unseal(key: bytes, owner: str, token: str | None) -> str | None:
    """Raises BadInput for anything that `seal` did not make for this owner."""
    if token is None:
        return None
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        mac, raw = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if hmac.compare_digest(mac, _mac(key, owner, raw)):
            return raw.decode()
    except (binascii.Error, UnicodeError, ValueError):
        pass
    raise BadInput("This page cursor is not valid; start from the first page.", code="bad_cursor", param="after")


def _mac(key: bytes, owner: str, raw: bytes) -> bytes:
    return hmac.digest(key, owner.encode() + b"\0" + raw, hashlib.sha256)[:_MAC_BYTES]
