"""The way to the models: one OpenAI-wire client over a pool of nodes.

Promises: a stream yields `Waiting`* `Token`* `End`, or raises a named error in our words, never the node's text.
Before the first token it waits for a place, for a node that wakes, tries again elsewhere, and with the fallback model
if there is one; after it, it never does. Closing the stream closes the connection to the node at once, so that the
engine frees the slot, and gives its place to the next. Asking what models there are does no I/O and wakes nothing.

The story is `stream`; its parts: `pool.py` chooses and queues, `waking.py` wakes, `answer.py` asks and reads,
`course.py` says what may still be tried, `roster.py` knows what other processes know.

Does not know chats, runs, guardrails or prices.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec

from functions.chat.messages import NodeUse, Sampling
from functions.errors import ParleyError
from functions.inference.answer import Answer, Ask, NotYet, Pace, blame
from functions.inference.breaker import Outcome
from functions.inference.counting import TokenCounts
from functions.inference.course import Course
from functions.inference.embedding import Embedded, Embedding
from functions.inference.limits import Limits
from functions.inference.nodes import CONTEXT_TOKENS, ModelInfo, Node, ServedModel
from functions.inference.pool import Pool, Ticket, Waiting
from functions.inference.probing import keep_probing, probe
from functions.inference.roster import Roster
from functions.inference.session import new_session
from functions.inference.waking import Knock, Knocks
from functions.inference.wire import End, Token
from functions.ports import Ledger, NodeRegistry
from functions.telemetry import log_fault, observe

__all__ = ["Embedded", "End", "Gateway", "Limits", "ModelInfo", "Node", "ServedModel", "Token", "Waiting"]

BOOKKEEPING = "bookkeeping"  # background work that is finished, not cancelled, when the gateway closes


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Gateway:
    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        registry: NodeRegistry | None = None,
        ledger: Ledger | None = None,
        fallbacks: Mapping[str, str] | None = None,
        node_key: str = "",
        session: aiohttp.ClientSession | None = None,
        limits: Limits | None = None,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], int] = _unix_ms,
    ) -> None:
        """`fallbacks`: model to model. `node_key` is what nodes that register themselves are called with. `now` is
        monotonic seconds, `clock` Unix milliseconds."""
        self._limits = limits or Limits()
        self._ledger, self._fallbacks = ledger, dict(fallbacks or {})
        self._now, self._clock = now, clock
        self.named = tuple(nodes)  # by the operator; the others have joined by themselves
        self._own_session = session is None
        self._opened_session = session
        self._pool = Pool(nodes, limits=self._limits, now=now, clock=clock)
        self._pool.knocks = Knocks(lambda: self._session, self._limits, now, self._pool.news_of_starts)
        self._roster: Roster | None = None
        if registry is not None:
            self._roster = Roster(
                registry,
                self._pool,
                session=lambda: self._session,
                node_key=node_key,
                limits=self._limits,
                now=now,
                clock=clock,
            )
        self._counts = TokenCounts(lambda: self._session)
        self._embedding = Embedding(self._pool, lambda: self._session, self._limits, now, self._note)
        self._background: set[asyncio.Task[None]] = set()

    # -- life ------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connects nothing that sleeps. Always-on nodes get their first probe before this returns, for a second."""
        if self._opened_session is None:
            self._opened_session = new_session(self._limits)
        awake = [node for node in self.nodes if not node.serverless]
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.gather(*(probe(node, self._session) for node in awake))
        for node in awake:
            self._in_background(keep_probing(node, self._session))
        if self._roster is not None:
            await self._roster.open()

    async def close(self) -> None:
        await self._pool.knocks.close()
        for task in self._background:
            if task.get_name() != BOOKKEEPING:
                task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._roster is not None:
            await self._roster.close()
        self._pool.close()
        if self._own_session and self._opened_session is not None:
            await self._opened_session.close()
            self._opened_session = None

    def _in_background(self, work: Coroutine[Any, Any, None], name: str | None = None) -> None:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._opened_session is not None, "the gateway is not open"
        return self._opened_session

    # -- what there is ---------------------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Those of the settings, and those that have joined."""
        return tuple(self._pool.nodes)

    def models(self) -> tuple[ModelInfo, ...]:
        """Every model that chats, with the best state among the nodes that serve it. No I/O, wakes nothing."""
        ids = dict.fromkeys(m.id for node in self._pool.nodes for m in node.models if m.task == "chat")
        return tuple(self._info(model) for model in ids)

    def _info(self, model: str) -> ModelInfo:
        best = self._pool.best(model)
        served = best.model(model)
        assert served is not None
        state = best.state
        p50, p90 = best.eta_ms() if state in ("cold", "warming") else (None, None)
        return ModelInfo(
            id=served.id,
            name=served.name or served.id,
            context_tokens=served.context_tokens or CONTEXT_TOKENS,
            state=state,
            since_ms=best.since_ms,
            demo=served.demo,
            notice=served.notice,
            eta_p50_ms=p50,
            eta_p90_ms=p90,
            gpu=best.gpu,
            usd_per_hour=round(best.usd_per_second * 3600, 6),
            idle_s=best.idle_seconds if best.serverless else 0.0,
            nodes=len(self._pool.serving(model)),
            queued=self._pool.queued(model),
        )

    def context_tokens(self, model: str) -> int:
        """The smallest context among the nodes that serve the model: a takeover may land on any of them."""
        served = (node.model(model) for node in self._pool.serving(model))
        return min((s.context_tokens for s in served if s and s.context_tokens), default=CONTEXT_TOKENS)

    async def count_tokens(self, model: str, texts: Sequence[str]) -> tuple[int, ...]:
        """Tokens of each text, by the node's own tokenizer; an estimate from above when no node is awake to say.

        Counts the bare texts: what the chat template adds around them is not in here.
        """
        return await self._counts.of(model, texts, self._pool.serving(model))

    async def embed(
        self, texts: Sequence[str], *, model: str | None = None, uses: list[NodeUse] | None = None, fresh: bool = False
    ) -> Embedded:
        """One vector per text, by this model or the first that embeds; where none does and none was named, vectors of
        spelling, and `Embedded.is_lexical` says so. Keep vectors of different models apart (`embedding.space`). `uses`
        as in `stream`.

        With `fresh` a node makes each of them now, whatever is cached, or NotFound says that there is none. Raises
        NotFound for a model that nobody has, UpstreamError when none can be reached in `Limits.embed_wake_s`."""
        return await self._embedding.embed(texts, model, uses, fresh=fresh)

    def embedders(self, *, awake: bool = False) -> tuple[str, ...]:
        """The models that turn text into vectors, or those of them that would not have to be woken. No I/O."""
        if not awake:
            return self._embedding.models
        is_warm = {served.id for node in self._pool.nodes if node.state == "warm" for served in node.models}
        return tuple(model for model in self._embedding.models if model in is_warm)

    # -- waking ahead ----------------------------------------------------------------------------------------

    async def prewarm(self, model: str, *, owner: str = "") -> Node | None:
        """Knock at one sleeping node of this model and come back at once; None when there is nothing to do.

        The start is followed in the background. When it is over the ledger hears of it, on the `owner`'s account.
        """
        knock = self._pool.prewarm(model)
        if knock is None:
            return None
        self._in_background(self._enter_prewarm(knock, model, owner, self._clock()), BOOKKEEPING)
        return knock.node

    async def _enter_prewarm(self, knock: Knock, model: str, owner: str, asked_ms: int) -> None:
        is_up = await knock.over
        if self._ledger is None or not knock.is_real:
            return
        now_ms = self._clock()
        use = self._use(knock.node, model, asked_ms, now_ms if is_up else None, now_ms, was_cold=True)
        use_id = f"prewarm/{knock.node.name}/{model}/{asked_ms}"
        try:
            await self._ledger.record_use(msgspec.structs.replace(use, id=use_id, owner=owner))
        except Exception:  # the edge of a background task; the start is not in anybody's bill
            log_fault("gateway.ledger_fault", node=knock.node.name)

    # -- the stream ------------------------------------------------------------------------------------------

    async def stream(
        self,
        model: str,
        messages: Sequence[dict[str, Any]],  # OpenAI's wire
        sampling: Sampling,
        *,
        session_id: str,
        prefix: str = "",
        pace: Pace | None = None,
        uses: list[NodeUse] | None = None,
        on_asked: Callable[[bool], None] | None = None,
    ) -> AsyncGenerator[Waiting | Token | End, None]:
        """One answer. With `prefix`, only what comes after it: the node continues the half-written message. After
        the first text `pace` is waited for before each read: whoever shows text in beats need not be woken for
        every token. Each stay at a node is in `uses` before this ends, however it ends; owner, run and tokens are
        the caller's to fill in. With a prefix, a node that is in there already broke off, and comes last. `on_asked`
        hears True each time a node that should be up is asked, and False when that one turns out to sleep."""
        course = Course(model, self._pool, self._limits, self._fallbacks, self._now)
        if prefix:
            course.tried |= {node for node in self._pool.nodes if node.name in {use.node for use in uses or ()}}
        number: int | None = None  # its turn in the queue, kept when it has to come again
        while True:
            ticket: Ticket | None = None
            answer: Answer | None = None
            failure: NotYet | ParleyError | None = None
            outcome: Outcome = "none"
            try:
                ticket = self._pool.enter(
                    course.model, session_id, tried=course.tried, shunned=course.shunned, number=number
                )
                number = ticket.number
                while (notice := await self._next_notice(ticket, course)) is not None:
                    yield notice
                observe("parley_queue_seconds", self._now() - ticket.since)
                ask = Ask(course.model, messages, sampling, session_id, prefix)
                if on_asked is not None:
                    on_asked(True)
                async with Answer(ticket.placed, ask, self._session, self._limits, pace) as answer:
                    token = await answer.read()
                    self._pool.hear(ticket)
                    while token is not None:
                        yield token
                        token = await answer.read()
                    end = await answer.end()
                    outcome = "answered"
                    yield end
                return
            except (NotYet, ParleyError) as caught:
                failure, outcome = caught, blame(caught)
                if on_asked is not None and isinstance(caught, NotYet) and caught.phase in ("waking", "loading"):
                    on_asked(False)
                if answer is not None and answer.has_shown:
                    raise
                pause_s = course.after(caught, ticket.node if ticket is not None else None)
            finally:
                if ticket is not None:
                    self._note(ticket, failure, uses)
                    self._pool.leave(ticket, outcome, getattr(failure, "after_s", None))
            if isinstance(failure, NotYet) and course.is_due(why := _why(failure, ticket)):
                yield why
            await asyncio.sleep(pause_s)

    async def _next_notice(self, ticket: Ticket, course: Course) -> Waiting | None:
        """What the reader should hear next; None when the request has its place. Raises when there is none to come."""
        while ticket.node is None:
            if ticket.failure is not None:
                raise ticket.failure
            course.check_time()
            notice = self._pool.look(ticket)
            if notice is not None and course.is_due(notice):
                return notice
            await ticket.news(self._limits.notice_s)
            self._pool.widen(ticket)
        return None

    # -- what was used ---------------------------------------------------------------------------------------

    def _note(self, ticket: Ticket, failure: NotYet | ParleyError | None, uses: list[NodeUse] | None) -> None:
        """The starts that were waited for in vain, then the stay itself."""
        if uses is None:
            return
        now_ms, node = self._clock(), ticket.node
        asked_ms = ticket.placed_ms
        was_cold = False
        for knock, since_ms in ticket.starts.items():
            if knock.was_start and knock.node is node:
                asked_ms, was_cold = min(asked_ms, since_ms), True
            elif knock.was_start:  # until another node had a place
                left_ms = now_ms if node is None else ticket.placed_ms
                uses.append(self._use(knock.node, ticket.model, since_ms, None, left_ms, was_cold=True))
        if node is None:
            return
        was_reached = not isinstance(failure, NotYet) or failure.was_reached
        if not was_reached and not was_cold and node.state == "warming":
            return  # it slept, and nobody worked for us: the wait that follows is the stay
        began_ms = ticket.placed_ms if was_reached else None
        uses.append(self._use(node, ticket.model, asked_ms, began_ms, now_ms, was_cold=was_cold))

    def _use(
        self, node: Node, model: str, asked_ms: int, began_ms: int | None, ended_ms: int, *, was_cold: bool
    ) -> NodeUse:
        return NodeUse(
            node=node.name,
            model=node.wire_name(model) or model,
            asked_ms=asked_ms,
            began_ms=began_ms,
            ended_ms=ended_ms,
            was_cold=was_cold,
            gpu=node.gpu,
            usd_per_second=node.usd_per_second,
            idle_s=node.idle_seconds if node.serverless else 0.0,
            streams=node.streams,
        )


def _why(failure: NotYet, ticket: Ticket | None) -> Waiting:
    if ticket is None or ticket.node is None or failure.phase not in ("waking", "loading"):
        return Waiting(phase=failure.phase)
    p50, p90 = ticket.node.eta_ms()
    return Waiting(phase=failure.phase, eta_p50_ms=p50, eta_p90_ms=p90)
