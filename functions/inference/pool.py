"""The pool: which node a request goes to, and the queue of those that wait for a place.

Promises: at most `slots` requests are at a node; further ones wait in the order they came, and a place that frees is
handed to the first who can use it: nobody polls, nobody is overtaken, and whoever leaves leaves no hole. Among warm
nodes the least busy is chosen, or the one that served this chat last if it is not much busier. When none is warm,
one that sleeps is woken, for everybody who waits; a second one when that takes longer than it should.

Does no I/O. Does not know prompts or answers: it hands out places, and is told how each stay ended.
"""

import asyncio
import hashlib
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Literal

from functions.chat.messages import NodeState, Phase, Struct
from functions.errors import NotFound, UpstreamError
from functions.inference.breaker import Breaker, Outcome
from functions.inference.limits import Limits
from functions.inference.nodes import DEFAULT_MODEL, Node
from functions.inference.waking import Knock, Knocks
from functions.inference.wire import all_busy, unavailable
from functions.telemetry import log

HOME_SLACK = 16  # a warm prefix cache is worth so many more requests in the same batch, or a quarter of the places
HASH_SLACK = 1  # where other processes would send it is worth this many: more would spoil the spread
HOMES_KEPT = 20_000
RANK: dict[NodeState, int] = {"warm": 0, "warming": 1, "cold": 2, "unreachable": 3}


class Waiting(Struct, frozen=True, kw_only=True):
    """Nothing to show yet, and why. The times count from now; None before this node's first observed start."""

    phase: Phase
    eta_p50_ms: int | None = None
    eta_p90_ms: int | None = None
    position: int | None = None  # in the queue, from 1


class Ticket:
    """One request's stand in the queue, and its place at a node once it has one."""

    __slots__ = (
        "_stir",
        "embeds",
        "failure",
        "is_trial",
        "joined",
        "model",
        "node",
        "number",
        "placed_ms",
        "session_id",
        "shunned",
        "since",
        "starts",
        "tried",
    )

    def __init__(
        self,
        model: str,
        session_id: str,
        *,
        embeds: bool,
        tried: Collection[Node],
        shunned: Collection[Node],
        number: int,
        since: float,
    ) -> None:
        self.model, self.session_id, self.embeds = model, session_id, embeds
        self.tried = tried  # these have failed it: rather another one that is awake
        self.shunned = shunned  # and of these, those that would fail it again: rather one that sleeps
        self.number = number  # who has the lower one came first
        self.since = since  # by the pool's clock
        self.node: Node | None = None
        self.placed_ms = 0
        self.is_trial = False
        self.failure: UpstreamError | None = None  # there is nothing left to wait for
        self.starts: dict[Knock, int] = {}  # those it waits or has waited for, since when (Unix milliseconds)
        self.joined: list[Knock] = []  # those it waits for now
        self._stir = asyncio.Event()

    @property
    def placed(self) -> Node:
        """Where its place is; it must have one."""
        assert self.node is not None
        return self.node

    def stir(self) -> None:
        self._stir.set()

    async def news(self, timeout_s: float) -> None:
        """Until something has changed, or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._stir.wait()
        except TimeoutError:
            return
        self._stir.clear()

    def gave_up(self, node: Node) -> bool:
        """Has this node failed to start while this request waited for it?"""
        return any(knock.node is node and knock.over.done() and not knock.over.result() for knock in self.starts)


class Pool:
    """Nodes, and tickets. One event loop, no locks: nothing here awaits."""

    def __init__(
        self, nodes: Sequence[Node], *, limits: Limits, now: Callable[[], float], clock: Callable[[], int]
    ) -> None:
        self.nodes: list[Node] = []
        self.knocks: Knocks  # set by the gateway, which has the connections
        self._limits, self._now, self._clock = limits, now, clock
        self._breakers: dict[Node, Breaker] = {}
        self._waiting: list[Ticket] = []
        self._homes: OrderedDict[str, Node] = OrderedDict()
        self._numbers = 0
        self._is_handing = False
        self._has_more = False
        self._alarm: asyncio.TimerHandle | None = None
        for node in nodes:
            self.add(node)

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        self._breakers[node] = Breaker(self._now)
        node.watchers.append(self._changed)
        self.hand_out()

    def remove(self, node: Node) -> None:
        """It takes no new request; those under way go on."""
        self.nodes.remove(node)
        self._forget(node)
        self.hand_out()

    def _forget(self, node: Node) -> None:
        node.watchers.remove(self._changed)
        del self._breakers[node]

    def close(self) -> None:
        for node in self.nodes:
            self._forget(node)
        self.nodes.clear()
        if self._alarm is not None:
            self._alarm.cancel()

    # -- what there is ---------------------------------------------------------------------------------------

    def serving(self, model: str, *, embeds: bool = False) -> list[Node]:
        """Who serves the model. A node that has not said what it serves is asked only when nobody else is known to."""
        unknown = [n for n in self.nodes if not n.is_known and n.serves(DEFAULT_MODEL, embeds=embeds)]
        if model != DEFAULT_MODEL:
            return [n for n in self.nodes if n.is_known and n.serves(model, embeds=embeds)] or unknown
        return unknown or [n for n in self.nodes if n.serves(model, embeds=embeds)][:1]

    def best(self, model: str) -> Node:
        """The one in the best state. Somebody must serve it."""
        return min(self.serving(model), key=lambda node: RANK[node.state])

    def queued(self, model: str) -> int:
        return sum(ticket.model == model for ticket in self._waiting)

    # -- coming and going ------------------------------------------------------------------------------------

    def enter(
        self,
        model: str,
        session_id: str,
        *,
        embeds: bool = False,
        tried: Collection[Node] = (),
        shunned: Collection[Node] = (),
        number: int | None = None,
    ) -> Ticket:
        """A place at once (`ticket.node`), or a stand in the queue; somebody who comes again keeps the `number`.
        Every ticket must come to `leave`, however it ends. Raises NotFound, Overloaded, or what makes it hopeless."""
        if not self.serving(model, embeds=embeds):
            raise NotFound("There is no such model. Choose one from the list.", code="model_not_found", param="model")
        if number is None:
            self._numbers = number = self._numbers + 1
        since = self._now()
        ticket = Ticket(model, session_id, embeds=embeds, tried=tried, shunned=shunned, number=number, since=since)
        insort(self._waiting, ticket, key=lambda other: other.number)
        self.hand_out()
        is_crowded = ticket.node is None and self._is_crowded(model, embeds)
        if ticket.failure is not None or is_crowded:
            self.leave(ticket)
            raise ticket.failure or all_busy()
        return ticket

    def _is_crowded(self, model: str, embeds: bool) -> bool:
        """Who waits for a start does not count as long as there will be a place for him."""
        serving = self.serving(model, embeds=embeds)
        is_awake = any(node.state == "warm" for node in serving)
        to_come = 0 if is_awake else sum(node.slots for node in serving if node.may_be_starting)
        return self.queued(model) > to_come + self._limits.node_queue * len(serving)

    def hear(self, ticket: Ticket) -> None:
        """The node answers this ticket: it shows text."""
        breaker = self._breakers.get(ticket.placed)
        if ticket.is_trial and breaker is not None:
            ticket.is_trial = False
            breaker.hear()
            self.hand_out()

    def leave(self, ticket: Ticket, outcome: Outcome = "none", after_s: float | None = None) -> None:
        """The place goes to the next; what the stay says about the node is remembered."""
        self._stop_waiting(ticket)
        node = ticket.node
        if node is None:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
        else:
            node.give_place()
            if (breaker := self._breakers.get(node)) is not None:
                self._learn(node, breaker, ticket, outcome, after_s)
        self.hand_out()

    def _learn(self, node: Node, breaker: Breaker, ticket: Ticket, outcome: Outcome, after_s: float | None) -> None:
        if ticket.is_trial:
            breaker.end_trial()
        match outcome:
            case "answered":
                breaker.succeed()
            case "fault":
                if breaker.fail(was_trial=ticket.is_trial):
                    log("gateway.breaker", node=node.name, state="open")
            case "busy":
                breaker.rest(after_s=after_s, first_s=self._limits.first_backoff_s, most_s=self._limits.backoff_s)

    # -- handing out places ----------------------------------------------------------------------------------

    def _changed(self, node: Node, before: NodeState) -> None:
        if node.state == "warm" and before != "warm":
            self._breakers[node].succeed()  # it has come back: what was before is over
        self.hand_out()

    def hand_out(self) -> None:
        """Every free place to the first who can use it. Called on whatever may have freed one."""
        if self._is_handing:  # a knock, or its end, changes a node's state
            self._has_more = True
            return
        self._is_handing = True
        try:
            self._has_more = True
            while self._has_more:
                self._has_more = False
                self._hand_out_once()
        finally:
            self._is_handing = False
        self._set_alarm()

    def _hand_out_once(self) -> None:
        full: set[tuple[str, bool]] = set()  # where the first has found every place taken, the others need not look
        for ticket in tuple(self._waiting):
            kind = (ticket.model, ticket.embeds)
            if kind in full and not ticket.tried:
                continue
            found = self._find(ticket)
            if isinstance(found, Node):
                self._give(ticket, found)
            elif isinstance(found, UpstreamError):
                self._waiting.remove(ticket)
                ticket.failure = found
                ticket.stir()
            elif found == "full" and not ticket.tried:
                full.add(kind)

    def _give(self, ticket: Ticket, node: Node) -> None:
        self._waiting.remove(ticket)
        self._stop_waiting(ticket)
        node.take_place()
        ticket.node, ticket.placed_ms = node, self._clock()
        ticket.is_trial = self._breakers[node].admit()
        if ticket.session_id:
            self._homes[ticket.session_id] = node
            self._homes.move_to_end(ticket.session_id)
            if len(self._homes) > HOMES_KEPT:
                self._homes.popitem(last=False)
        ticket.stir()

    def _find(self, ticket: Ticket) -> Node | Literal["full", "coming"] | UpstreamError:
        """A place for this ticket now; else what it waits for, and sees to that; else why there is no sense in it."""
        usable = self._usable(ticket)
        warm = [node for node in usable if node.state == "warm"]
        if warm:
            return self._place_at(ticket, warm)
        coming = [node for node in usable if node.may_be_starting and not ticket.gave_up(node)]
        if coming:
            self._wake(ticket, coming)
            return "coming"
        silent = [node for node in usable if not node.serverless]
        if silent:  # nobody has seen them alive; whoever asks will know
            return self._place_at(ticket, silent)
        return next((knock.failure for knock in ticket.starts if knock.failure), None) or unavailable()

    def _place_at(self, ticket: Ticket, nodes: list[Node]) -> Node | Literal["full"]:
        free = [node for node in nodes if node.has_room and not self._breakers[node].is_resting]
        return self._prefer(ticket, [node for node in free if node not in ticket.tried] or free) if free else "full"

    def _usable(self, ticket: Ticket) -> list[Node]:
        """Those that may be asked; of them the ones that would not fail this request again, if there are any."""
        closed = [n for n in self.serving(ticket.model, embeds=ticket.embeds) if not self._breakers[n].is_open]
        return [node for node in closed if node not in ticket.shunned] or closed

    def _prefer(self, ticket: Ticket, ready: list[Node]) -> Node:
        least = min(node.outstanding for node in ready)
        home = self._homes.get(ticket.session_id)
        if home in ready and home.outstanding <= least + min(HOME_SLACK, home.slots // 4):
            return home
        near = [node for node in ready if node.outstanding <= least + HASH_SLACK]
        return max(near, key=lambda node: _affinity(ticket.session_id, node))

    def _set_alarm(self) -> None:
        """Somebody waits, and a node that is left alone may be asked again later: nothing else would tell us."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        times = [breaker.changes_at for breaker in self._breakers.values()] if self._waiting else []
        if (at := min((time for time in times if time is not None), default=None)) is not None:
            self._alarm = asyncio.get_running_loop().call_later(at - self._now(), self.hand_out)

    # -- waking ----------------------------------------------------------------------------------------------

    def _wake(self, ticket: Ticket, coming: list[Node]) -> None:
        """Wait for all that start; if none does, knock at the first. Every process knocks at the same one."""
        under_way = [knock for node in coming if (knock := self.knocks.find(node)) is not None]
        for knock in under_way or [self.knocks.at(min(coming, key=lambda node: RANK[node.state]))]:
            self._join(ticket, knock)

    def _join(self, ticket: Ticket, knock: Knock) -> None:
        if knock not in ticket.starts:
            ticket.starts[knock] = self._clock()
            ticket.joined.append(knock)
            knock.askers += 1

    def _stop_waiting(self, ticket: Ticket) -> None:
        """For the starts it has joined: it has a place, or has gone."""
        while ticket.joined:
            self.knocks.leave(ticket.joined.pop())

    def widen(self, ticket: Ticket) -> None:
        """Wake one node more when the queue stands still, or when a start takes longer than nine in ten before it."""
        if ticket.node is not None or ticket.failure is not None:
            return
        usable = self._usable(ticket)
        asleep = [n for n in usable if n.serverless and n.state == "cold" and not ticket.gave_up(n)]
        under_way = [knock for node in usable if (knock := self.knocks.find(node)) is not None]
        if not asleep or len(under_way) > 1:
            return
        if any(node.state == "warm" for node in usable):
            is_time = not under_way and self._now() - ticket.since > self._limits.overflow_s
        else:
            is_time = bool(under_way) and under_way[0].node.is_late(self._limits.hedge_s)
        if not is_time:
            return
        knock = self.knocks.at(asleep[0])
        log("gateway.second_wake", node=asleep[0].name, model=ticket.model)
        for other in self._waiting:
            if (other.model, other.embeds) == (ticket.model, ticket.embeds):
                self._join(other, knock)

    def prewarm(self, model: str) -> Knock | None:
        """Knock at one sleeping node of the model, unless another one is awake or on its way."""
        serving = self.serving(model)
        asleep = [node for node in serving if node.serverless and node.state in ("cold", "unreachable")]
        if not asleep or len(asleep) < len(serving):
            return None
        knock = self.knocks.at(asleep[0])
        knock.is_kept = True
        return knock

    def news_of_starts(self) -> None:
        """A start has become certain, or has changed its phase, or is over."""
        for ticket in self._waiting:
            if ticket.starts:
                ticket.stir()
        self.hand_out()

    # -- what those who wait are told ------------------------------------------------------------------------

    def look(self, ticket: Ticket) -> Waiting | None:
        """Why this ticket waits, and how long it may take; None as long as it is not certain that it must."""
        starts = [knock.node for knock in ticket.starts if not knock.over.done()]
        if any(node.state == "warm" for node in self._usable(ticket)) or not starts:
            return Waiting(phase="queued", position=self._position(ticket))
        if not any(knock.is_real for knock in ticket.starts):
            return None
        is_loading = any(node.is_loading for node in starts)
        p50, p90 = min((node.eta_ms() for node in starts), key=lambda eta: (eta[0] is None, eta))
        return Waiting(phase="loading" if is_loading else "waking", eta_p50_ms=p50, eta_p90_ms=p90)

    def _position(self, ticket: Ticket) -> int:
        ahead = self._waiting[: self._waiting.index(ticket) + 1]
        return sum(other.model == ticket.model and other.embeds == ticket.embeds for other in ahead)


def _affinity(session_id: str, node: Node) -> bytes:
    """Rendezvous hash: each chat prefers one node, and a node that leaves moves only its own chats."""
    return hashlib.blake2b(f"{session_id}\n{node.url}".encode(), digest_size=8).digest()
