"""A house without HTTP for tests of memory: real services on either store, over a simulated engine."""

import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from functions.chat.messages import Chat, Memory, Message, expiry_of, new_id, utc_now
from functions.chat.opening import TurnRequest, message_key
from functions.inference.nodes import Node, ServedModel
from functions.services import Services, open_services, open_store
from functions.settings import Settings
from tests.simulated import Scenario, SimulatedEngine

ECHO = Scenario(echo=True)


@dataclasses.dataclass
class Home:
    services: Services
    engine: SimulatedEngine
    owner: str = dataclasses.field(default_factory=lambda: f"ana-{new_id()}")

    async def open_chat(self, *, temporary: bool = False) -> Chat:
        now = utc_now()
        chat = Chat(
            id=new_id(),
            title="A chat",
            model=None,
            system_prompt=None,
            created_at=now,
            updated_at=now,
            temporary=temporary,
            expires_at=expiry_of(temporary, now),
        )
        await self.services.store.create_chat(self.owner, chat)
        return chat

    async def say(self, chat: Chat, content: str) -> Message:
        """One turn; the answer."""
        message_id = new_id()
        request = TurnRequest(key=message_key(message_id), chat_id=chat.id, message_id=message_id, content=content)
        run = await self.services.turns.start(self.owner, request)
        async for _ in await self.services.runs.follow(self.owner, run.id):
            pass
        await self.services.runs.settle()  # its follow-ups are queued after its last event
        return await self.services.store.get_message(self.owner, chat.id, run.assistant_message_id)

    async def remember(self, *operations: dict[str, Any], said: str | None = None) -> None:
        """Do the jobs that are due; asked what there is to remember, the model says this."""
        text = json.dumps({"operations": operations}, ensure_ascii=False) if said is None else said
        self.engine.scenario = dataclasses.replace(ECHO, text=text, echo=False)
        while await self.services.jobs.take_one("work"):
            pass
        self.engine.scenario = ECHO

    async def known(self) -> list[str]:
        return [memory.text for memory in await self.memories()]

    async def memories(self) -> tuple[Memory, ...]:
        return await self.services.store.list_memories(self.owner)

    def asked(self) -> list[list[dict[str, Any]]]:
        """What the engine was sent so far, by request."""
        return [request["messages"] for request in self.engine.stats.requests]

    def last_question(self) -> str:
        content: str = self.asked()[-1][-1]["content"]
        return content


@asynccontextmanager
async def open_home(
    folder: Path,
    store_url: str | None = None,
    *,
    served: ServedModel | None = None,
    serverless: bool = False,
    **settings: Any,
) -> AsyncIterator[Home]:
    if store_url is not None:
        await (await open_store(store_url, create=True)).close()
    configured = Settings(
        store_url=store_url or f"sqlite:///{folder / 'parley.db'}",
        data=folder,
        titles=False,
        secret_key="s",
        **settings,
    )
    async with SimulatedEngine(ECHO) as engine:
        model = served or ServedModel(id="sim", context_tokens=8192)
        node = Node(engine.url, name="gpu", models=[model], serverless=serverless)
        async with open_services(configured, [node]) as services:
            yield Home(services, engine)
