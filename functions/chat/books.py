"""The books: every run's uses of nodes are written down, and what they cost is told as far as one can at its end.

What a use costs for good depends on whom it shared the GPU with, in every process, and on what came after it:
`GET /usage` derives that from the ledger. What stands on a message is this process's estimate.
"""

from collections.abc import Callable, Sequence

import msgspec

from functions.chat.messages import Cost, NodeUse, Run, Usage
from functions.errors import StoreUnavailable
from functions.inference.nodes import Node
from functions.inference.pricing import Meter
from functions.ports import Ledger
from functions.telemetry import log_fault


class Books:
    def __init__(self, ledger: Ledger, clock: Callable[[], int]) -> None:
        self._ledger, self._meter, self._clock = ledger, Meter(), clock

    def cost(self, uses: Sequence[NodeUse], nodes: Sequence[Node]) -> Cost:
        """What these uses of one run have cost, to this process's knowledge: `nodes` say how many share them now."""
        return self._meter.cost(uses, self._clock(), {node.name: node.outstanding for node in nodes})

    async def enter(self, run: Run, uses: Sequence[NodeUse], usage: Usage) -> None:
        """Write them into the ledger, the tokens with the last. A store that cannot take them costs no answer."""
        for number, use in enumerate(uses, 1):
            tokens = msgspec.structs.asdict(usage) if number == len(uses) else {}
            known = {
                "id": f"{run.id}.{run.epoch}.{number}",
                "owner": run.owner,
                "run_id": run.id,
                "chat_id": run.chat_id,
            }
            try:
                await self._ledger.record_use(msgspec.structs.replace(use, **known, **tokens))
            except StoreUnavailable:
                log_fault("ledger.fault", run=run.id)
                return
