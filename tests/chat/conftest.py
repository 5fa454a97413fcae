from collections.abc import AsyncIterator

import pytest

from tests.scripted_guard import ScriptedGuard


@pytest.fixture
async def guard() -> AsyncIterator[ScriptedGuard]:
    async with ScriptedGuard() as running:
        yield running
