"""The bill from the ledger, of any period, week by week: the books of a busy year need not fit into memory.

The rule is `pricing.bill`; this only reads for it what it asks for. Holds the event loop for no more than a read.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from functions.chat.messages import NodeUse
from functions.inference.pricing import DAY_MS, MARGIN_MS, Row, Spent, bill, total
from functions.ports import Ledger

AT_ONCE_DAYS = 7


async def read_bill(ledger: Ledger, *, from_ms: int, to_ms: int, now_ms: int, owner: str | None = None) -> list[Row]:
    """What was spent in [from_ms, to_ms) by all owners or by one, ordered by day, owner, model and chat."""
    rows: list[Row] = []
    to_ms = max(from_ms, min(to_ms, now_ms + MARGIN_MS))  # clocks differ; what is asked later is in no ledger
    while from_ms < to_ms:
        until_ms = min(to_ms, (from_ms // DAY_MS + AT_ONCE_DAYS) * DAY_MS)  # at midnight: no line is in two weeks
        uses = await ledger.read_uses(from_ms=from_ms - MARGIN_MS, to_ms=until_ms + MARGIN_MS)
        week = await asyncio.to_thread(bill, uses, from_ms=from_ms, to_ms=until_ms, now_ms=now_ms)
        rows += (row for row in week if owner is None or row.owner == owner)
        from_ms = until_ms
    return rows


async def spent_by_node(ledger: Ledger, *, from_ms: int, to_ms: int, now_ms: int) -> dict[str, Spent]:
    """What all owners together have spent in [from_ms, to_ms), which is to be no longer than a week, at each node that
    was asked. Nodes are billed one by one anyway, so this sums to the bill, but for what a run counts as: a run that
    went from one node to another is here at both."""
    to_ms = max(from_ms, min(to_ms, now_ms + MARGIN_MS))
    uses = await ledger.read_uses(from_ms=from_ms - MARGIN_MS, to_ms=to_ms + MARGIN_MS)
    by_node: defaultdict[str, list[NodeUse]] = defaultdict(list)
    for use in uses:
        by_node[use.node].append(use)

    def spent(of: Sequence[NodeUse]) -> Spent:
        return total(row.spent for row in bill(of, from_ms=from_ms, to_ms=to_ms, now_ms=now_ms)).rounded()

    return await asyncio.to_thread(lambda: {node: spent(of) for node, of in by_node.items()})
