"""When chats end by themselves: how often a process looks, and that the nightly job does."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from functions.chat.messages import Chat, expiry_of, new_id, utc_now
from functions.workers.nightly import summarise_chats
from tests.chat.remembering import Home, open_home


def a_chat(days_ago: float, *, temporary: bool = False, pinned: bool = False) -> Chat:
    when = utc_now() - timedelta(days=days_ago)
    return Chat(
        id=new_id(),
        title="A chat",
        model=None,
        system_prompt=None,
        created_at=when,
        updated_at=when,
        pinned=pinned,
        temporary=temporary,
        expires_at=expiry_of(temporary, when),
    )


async def keep(home: Home, *chats: Chat) -> None:
    for chat in chats:
        await home.services.store.create_chat(home.owner, chat)


async def left(home: Home) -> set[str]:
    return {chat.id for chat in (await home.services.store.list_chats(home.owner, limit=99)).data}


async def test_the_nightly_job_deletes_what_is_overdue_also_where_it_may_wake_no_gpu(tmp_path: Path) -> None:
    async with open_home(tmp_path, chats_days=30, night_minutes=0) as home:
        old, young, pinned = a_chat(31), a_chat(29), a_chat(31, pinned=True)
        await keep(home, old, young, pinned)

        assert await summarise_chats(home.services, within_s=5) == 0

        assert await left(home) == {young.id, pinned.id}


async def test_a_sweep_comes_to_the_end_of_many_pages(tmp_path: Path) -> None:
    async with open_home(tmp_path, chats_days=30) as home:
        many = [a_chat(31 + n) for n in range(120)]
        await keep(home, *many, young := a_chat(1))

        assert await home.services.retention.sweep() == 120

        assert await left(home) == {young.id}


async def test_a_process_looks_for_temporary_chats_often_and_for_old_ones_once_a_day(tmp_path: Path) -> None:
    async with open_home(tmp_path, chats_days=30) as home:
        retention = home.services.retention
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        retention.clock = lambda: now_ms

        assert await retention.sweep_if_due() == 0
        await keep(home, a_chat(31), a_chat(2, temporary=True))
        assert await retention.sweep_if_due() == 0, "it has just looked"
        now_ms += 11 * 60 * 1000
        assert await retention.sweep_if_due() == 1, "the temporary one"
        now_ms += 24 * 3600 * 1000
        assert await retention.sweep_if_due() == 1, "the old one"
