"""The rules of the house, as one process knows them: pause, limits for all, for groups, for single users.

They are looked at again after `LOOK_SECONDS`; a store that cannot say leaves what was known. Whoever changes them here
knows at once.
"""

import asyncio
from collections.abc import Callable

import msgspec

from functions.chat.allowances import HouseRules, Limits
from functions.errors import Conflict, Paused, StoreUnavailable
from functions.ports import LimitStore
from functions.settings import LOOK_SECONDS
from functions.telemetry import log_fault

KNOWN_USERS = 1000  # whose own limits are kept at hand
ATTEMPTS = 8  # to change the rules, each lost to somebody else who changed them

Change = Callable[[HouseRules], HouseRules]


class House:
    def __init__(self, store: LimitStore, clock: Callable[[], int]) -> None:
        self._store, self._clock = store, clock
        self._rules, self._looked_ms = HouseRules(), 0
        self._looking = asyncio.Lock()
        self._own: dict[str, tuple[int, Limits]] = {}  # owner: when looked at, limits

    async def rules(self) -> HouseRules:
        """Those in force, as they were `LOOK_SECONDS` ago at the earliest; older while the store cannot be asked."""
        if self._is_old(self._looked_ms):
            async with self._looking:
                if self._is_old(self._looked_ms):
                    await self._look()
        return self._rules

    async def refuse_when_paused(self) -> None:
        """Raises Paused."""
        rules = await self.rules()
        if rules.paused_at is not None:
            why = f": {rules.reason}" if rules.reason else ""
            raise Paused(f"New messages are paused{why}. What is there can be read; try again later.")

    async def own(self, owner: str) -> Limits:
        """The limits that only this owner has. Raises StoreUnavailable when they were never seen."""
        if not (await self.rules()).has_users:
            return Limits()
        known = self._own.get(owner)
        if known is None or self._is_old(known[0]):
            try:
                known = self._clock(), await self._store.get_limits(owner) or Limits()
            except StoreUnavailable:
                if known is None:
                    raise
            self._own.pop(owner, None)
            self._own[owner] = known
            if len(self._own) > KNOWN_USERS:
                del self._own[next(iter(self._own))]
        return known[1]

    async def change(self, change: Change) -> HouseRules:
        """What `change` makes of the rules, stored. Raises Conflict when others keep changing them."""
        for _ in range(ATTEMPTS):
            rules = change(await self._store.get_rules())
            if await self._store.put_rules(rules):
                self._rules = msgspec.structs.replace(rules, edition=rules.edition + 1)
                self._looked_ms = self._clock()
                return self._rules
        raise Conflict("Somebody else is changing this; try again.")

    async def set_own(self, owner: str, limits: Limits | None) -> None:
        """The owner's own limits; None takes them back."""
        if limits is not None and not (await self._store.get_rules()).has_users:
            await self.change(lambda rules: msgspec.structs.replace(rules, has_users=True))
        await self._store.put_limits(owner, limits)
        self._own.pop(owner, None)

    async def _look(self) -> None:
        try:
            self._rules = await self._store.get_rules()
        except StoreUnavailable:
            log_fault("rules.fault")
        self._looked_ms = self._clock()

    def _is_old(self, looked_ms: int) -> bool:
        return not 0 <= self._clock() - looked_ms < 1000 * LOOK_SECONDS
