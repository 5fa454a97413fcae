"""The books: every run's uses of nodes are written down, and what they cost is told as far as one can at its end.

What a use costs for good depends on whom it shared the GPU with, in every process, and on what came after it:
`GET /usage` derives that from the ledger. What stands on a message is this process's estimate.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from functions.chat.allowances import Amounts
from functions.chat.messages import Cost, NodeUse, Run, Usage, new_id
from functions.errors import StoreUnavailable
from functions.inference.nodes import Node
from functions.inference.pricing import Meter
from functions.ports import Ledger
from functions.telemetry import log_fault

Charge = Callable[[str, Amounts], Awaitable[None]]


class Books:
    def __init__(self, ledger: Ledger, clock: Callable[[], int], *, charge: Charge | None = None) -> None:
        """`charge` hears what was used for an owner and by no run: that counts into the owner's budgets."""
        self._ledger, self._meter, self._clock, self._charge = ledger, Meter(), clock, charge

    def cost(self, uses: Sequence[NodeUse], nodes: Sequence[Node]) -> Cost:
        """What these uses of one run have cost, to this process's knowledge: `nodes` say how many share them now."""
        return self._meter.cost(uses, self._clock(), {node.name: node.outstanding for node in nodes})

    async def enter(self, run: Run, uses: Sequence[NodeUse], usage: Usage, guard_uses: Sequence[NodeUse] = ()) -> None:
        """What a run has used, with its tokens; and what judging it has, which bring their own and are no run's: it
        counts once, where it was answered."""
        whose = {"owner": run.owner, "chat_id": run.chat_id}
        known = whose | {"run_id": run.id} | msgspec.structs.asdict(usage)
        await self._record(f"{run.id}.{run.epoch}", uses, known)
        for number, use in enumerate(guard_uses, 1):
            await self._record(f"{run.id}.{run.epoch}.guard.{number}", [use], whose)

    async def enter_vectors(self, owner: str, uses: Sequence[NodeUse], prompt_tokens: int) -> None:
        """What vectors have used that belong to no run."""
        await self._record(new_id(), uses, {"owner": owner, "prompt_tokens": prompt_tokens})
        await self._charged(owner, uses, prompt_tokens)

    async def enter_written(self, owner: str, chat_id: str, uses: Sequence[NodeUse], usage: Usage) -> None:
        """What a text has used that a model wrote for us about a chat: a summary, a title."""
        await self._record(new_id(), uses, {"owner": owner, "chat_id": chat_id} | msgspec.structs.asdict(usage))
        await self._charged(owner, uses, usage.prompt_tokens + usage.completion_tokens)

    async def _charged(self, owner: str, uses: Sequence[NodeUse], tokens: int) -> None:
        """The work is done: a store that cannot count it takes nothing from it."""
        if self._charge is None or not uses:
            return
        cost = self.cost(uses, [])
        gpu_ms, micro_usd = round(1000 * cost.gpu_seconds), round(1_000_000 * cost.cost_usd)
        try:
            await self._charge(owner, Amounts(tokens=tokens, gpu_ms=gpu_ms, micro_usd=micro_usd))
        except StoreUnavailable:
            log_fault("charge.fault")

    async def _record(self, name: str, uses: Sequence[NodeUse], known: dict[str, Any]) -> None:  # NodeUse's own fields
        """The tokens go with the last. A store that cannot take them costs no answer."""
        for number, use in enumerate(uses, 1):
            entry = msgspec.structs.replace(use, id=f"{name}.{number}", **known)
            if number < len(uses):
                entry = msgspec.structs.replace(entry, prompt_tokens=0, cached_tokens=0, completion_tokens=0)
            try:
                await self._ledger.record_use(entry)
            except StoreUnavailable:
                log_fault("ledger.fault", use=entry.id)
                return
