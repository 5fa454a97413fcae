"""Whom an issuer's access token means in this house."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from functions.chat.accounts import Accounts
from functions.chat.principals import Identity
from functions.services import open_store


async def test_an_access_token_means_who_has_signed_in_and_invites_nobody(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    store = await open_store(f"sqlite:///{tmp_path / 'parley.db'}")
    accounts = Accounts(store, lambda: int(now.timestamp() * 1000), admins=["ada@example.org"])
    ada = Identity(issuer="https://i.example", subject="1", email="ada@example.org", is_email_verified=True)
    soon = now + timedelta(minutes=5)
    try:
        assert await accounts.by_identity(ada, ends_at=soon) is None
        user = await accounts.sign_in(ada)
        caller = await accounts.by_identity(Identity(issuer=ada.issuer, subject="1"), ends_at=soon)

        assert caller is not None
        assert (caller.user.id, caller.user.email, caller.ends_at) == (user.id, "ada@example.org", soon)
        assert await accounts.by_identity(ada, ends_at=now - timedelta(seconds=1)) is None  # over
        for other in (Identity(issuer="https://j.example", subject="1"), Identity(issuer=ada.issuer, subject="2")):
            assert await accounts.by_identity(other, ends_at=soon) is None
        bob = Identity(issuer=ada.issuer, subject="b", email="bob@example.org", is_email_verified=True)
        await accounts.invite(email="bob@example.org", name=None, role="member", group=None)
        bobs = await accounts.sign_in(bob)
        assert await accounts.by_identity(bob, ends_at=soon)
        await accounts.change_user(bobs.id, {"status": "suspended"})
        assert await accounts.by_identity(bob, ends_at=soon) is None
    finally:
        await store.close()
