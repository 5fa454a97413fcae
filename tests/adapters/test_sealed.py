"""Seals: what is read back is what was sealed, for the same place."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from functions.adapters.sealed import Seals, decode, encode
from functions.chat.messages import Feedback, Message

T0 = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
SEALS = Seals(b"key", "house")
MESSAGE = Message(id="m", chat_id="c", parent_id=None, role="user", content="Hello é 🙂", created_at=T0)
names = st.text(st.characters(codec="utf-8"), max_size=8)


@given(owner=names, chat=names, edition=names, text=names)
def test_what_was_sealed_comes_back_as_it_was(owner: str, chat: str, edition: str, text: str) -> None:
    message = decode(encode(MESSAGE) if not text else encode(MESSAGE).replace(b"Hello", b"Bye"))
    rated = Message(
        **{f: getattr(message, f) for f in message.__struct_fields__} | {"feedback": Feedback(rating=1, at=T0)}
    )

    sealed = SEALS.seal(owner, chat, edition, rated)

    assert SEALS.open(owner, chat, "m", sealed) == (edition, rated)


def test_nothing_else_is_taken_for_it() -> None:
    sealed = SEALS.seal("owner", "chat", "edition", MESSAGE)

    for at, byte in enumerate(sealed):
        for bit in range(8):
            forged = sealed[:at] + bytes((byte ^ 1 << bit,)) + sealed[at + 1 :]
            assert SEALS.open("owner", "chat", "m", forged) is None
        assert SEALS.open("owner", "chat", "m", sealed[:at]) is None
        assert SEALS.open("owner", "chat", "m", sealed + sealed[: at + 1]) is None


@given(noise=st.binary(max_size=100))
def test_noise_is_no_message(noise: bytes) -> None:
    assert SEALS.open("owner", "chat", "m", noise) is None


def test_a_seal_is_for_one_place() -> None:
    sealed = SEALS.seal("owner", "chat", "edition", MESSAGE)

    # The second: where one name ends and the next begins is sealed as well.
    for owner, chat, message in (
        ("other", "chat", "m"),
        ("ownerc", "hat", "m"),
        ("owner", "other", "m"),
        ("owner", "chat", "n"),
    ):
        assert SEALS.open(owner, chat, message, sealed) is None
    for other in (Seals(b"another key", "house"), Seals(b"key", "another house")):
        assert other.open("owner", "chat", "m", sealed) is None


def test_places_are_apart_and_say_nobodys_name() -> None:
    others = (Seals(b"another key", "house"), Seals(b"key", "another house"))
    places = [SEALS.place("owner", "chat"), SEALS.place("ownerc", "hat"), SEALS.place("owner", "other")]
    places += [seals.place("owner", "chat") for seals in others]

    assert len(set(places)) == 5
    assert SEALS.place("owner", "chat").startswith(SEALS.group("owner"))
    assert not any(name in place for place in places for name in ("owner", "chat", "house"))
