"""No more is read of a file than its budget, whatever a zip says of itself."""

import io
import zipfile
from pathlib import Path

import pytest

from functions.importing import child, source
from functions.importing.source import MEMBERS, Bounded, Budget, Trouble


def a_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def trouble(path: Path) -> str:
    with pytest.raises(Trouble) as raised:
        list(child.lines(path, "salt"))
    return raised.value.code


def test_a_bomb_is_left_at_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = a_zip(tmp_path / "bomb.zip", {"conversations.json": b"[" + b" " * 3_000_000 + b"]"})
    assert bomb.stat().st_size < 10_000
    read: list[int] = []
    take = Budget.take

    def counted(self: Budget, size: int) -> None:
        read.append(size)
        take(self, size)

    monkeypatch.setattr(Budget, "take", counted)
    monkeypatch.setattr(Budget.__init__, "__defaults__", (1_000_000,))

    assert trouble(bomb) == "too_large"
    assert sum(read) < 1_200_000


def test_all_files_of_a_zip_share_one_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = a_zip(tmp_path / "a.zip", {f"conversations-{n}.json": b"[" + b" " * 200_000 + b"]" for n in range(9)})
    monkeypatch.setattr(Budget.__init__, "__defaults__", (1_000_000,))
    assert trouble(many) == "too_large"


def test_a_zip_of_too_many_files_is_refused_unread(tmp_path: Path) -> None:
    assert trouble(a_zip(tmp_path / "a.zip", {f"{n}.json": b"[]" for n in range(MEMBERS + 1)})) == "too_large"


def test_a_mark_of_byte_order_is_no_text_and_pieces_come_whole() -> None:
    for data in (b"", b"[", b"[]", b"[1,2]", b"\xef\xbb\xbf[1,2]"):
        bounded = Bounded(io.BytesIO(data), Budget(1))
        assert bounded.read(0) == b""
        assert b"".join(iter(lambda b=bounded: b.read(2), b"")) == data.removeprefix(b"\xef\xbb\xbf")  # type: ignore[misc]
    assert Bounded(io.BytesIO(b"\xef\xbb\xbf \n {"), Budget(1)).peek() == b"{"


def test_a_file_is_looked_into_by_its_name_only_where_that_says_what_it_is(tmp_path: Path) -> None:
    names = {"x/conversations.json": b"[]", "x/conversations-001.json": b"[]", "user.json": b"{}", "a.txt": b""}
    assert len(source.sources(a_zip(tmp_path / "a.zip", names))) == 2
    assert len(source.sources(a_zip(tmp_path / "b.zip", {"parley-2026.json": b"{}", "c.txt": b""}))) == 1


def test_what_holds_no_chats_or_is_broken_is_told_by_its_trouble(tmp_path: Path) -> None:
    good = a_zip(tmp_path / "good.zip", {"conversations.json": b"[]" * 500}).read_bytes()
    broken, locked = bytearray(good), bytearray(good)
    broken[60:80] = b"\xff" * 20
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    for data, code in (
        (b"\x00\x01 no JSON", "unsupported"),
        (b'{"some": "thing"}', "unsupported"),
        (a_zip(tmp_path / "photo.zip", {"photo.png": b"x"}).read_bytes(), "unsupported"),
        (b"PK\x03\x04 no zip", "damaged"),
        (bytes(broken), "damaged"),
        (bytes(locked), "encrypted"),
    ):
        (tmp_path / "file").write_bytes(data)
        assert trouble(tmp_path / "file") == code, data[:30]
