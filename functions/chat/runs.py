"""The run log: an answer is a run, not a connection.

A `RunLog` writes one run: it gathers events, checkpoints them in beats, and shows an event to readers only after
the store has it. So whatever a reader has seen survives this process, and its cursor is never ahead of the log.
`Runs` knows the runs that live in this process, follows any run for a reader, stops runs and renews leases.

It knows nothing about models, guardrails or HTTP.

    add_text ─┐                 ┌─ publish ─ reader
    add ──────┴ pending ─ beat ─┴ store.append_events (renews the lease; Fenced: somebody else has the run)
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial

import msgspec

from functions.chat.messages import (
    TERMINAL,
    TERMINAL_EVENTS,
    Delta,
    LoggedEvent,
    Message,
    Run,
    RunEvent,
)
from functions.errors import BadInput, Fenced, Overloaded
from functions.ports import ChatStore
from functions.settings import (
    BEAT_SECONDS,
    CHECKPOINT_TOKENS,
    CROWD_RUNS,
    CROWDED_BEAT_SECONDS,
    PING_SECONDS,
    READER_POLL_SECONDS,
)
from functions.telemetry import log, log_fault

FIRST_POLL_SECONDS = 0.05  # a reader of another process's run starts here and backs off to READER_POLL_SECONDS
Clock = Callable[[], int]  # Unix milliseconds


class _Beats:
    """The beats of all runs of this process fall on one grid: they share a timer, and the store takes their
    checkpoints together. 64 streams, one transaction."""

    def __init__(self) -> None:
        self._waiting: dict[float, list[asyncio.Future[bool]]] = {}
        self._step_s = BEAT_SECONDS

    def keep_up_with(self, runs: int) -> None:
        """A crowded process beats slower: a third less CPU, and nobody sees a fiftieth of a second."""
        self._step_s = BEAT_SECONDS if runs < CROWD_RUNS else CROWDED_BEAT_SECONDS

    def after(self, time: float, beat_s: float) -> float:
        """The one nearest to `beat_s` after `time`."""
        if beat_s < BEAT_SECONDS:
            return time + beat_s
        step_s = self._step_s
        return round((time + max(beat_s, step_s)) / step_s) * step_s

    def resolve(self, future: asyncio.Future[bool], at: float) -> None:
        """At that beat."""
        if at in self._waiting:
            self._waiting[at].append(future)
        else:
            self._waiting[at] = [future]
            future.get_loop().call_at(at, self._beat, at)

    def _beat(self, at: float) -> None:
        for future in self._waiting.pop(at):
            _resolve(future, True)


class RunLog:
    """The one writer of one run, under the epoch that it claimed.

    `task` is the work; the log cancels it when the run is fenced or a stop is asked for. `stopping` tells the
    work which of the two it was.
    """

    def __init__(
        self,
        store: ChatStore,
        run: Run,
        events: Sequence[LoggedEvent],
        *,
        beats: _Beats,
        beat_s: float,
        lease_s: float,
        clock: Clock,
    ):
        self.run = run
        self.events = list(events)  # durable, all of them, from seq 1
        self.task: asyncio.Task[None] | None = None
        self.readers = 0
        self.stopping = run.stop_requested
        self.closed = False  # no more events will come from this process
        self.began = False  # a task that is cancelled before its first step runs no `finally`
        self._ending = False
        self._store, self._lease_s, self._clock = store, lease_s, clock
        self._beats, self._beat_s = beats, beat_s
        self._loop = asyncio.get_running_loop()
        self._pending: list[RunEvent] = []
        self._text: list[str] = []  # the tail of pending: one Delta in the making
        self._written = [e.event.text for e in events if isinstance(e.event, Delta)]
        self._tokens = 0
        self._timer: asyncio.TimerHandle | None = None  # of the next beat
        self._storing: asyncio.Future[bool] | None = None  # the one checkpoint under way
        self._finishing: asyncio.Task[None] | None = None
        self._is_beating = False  # from the first text on: what comes before it, and it, leave at once
        self._next_beat = 0.0
        self._due: asyncio.Future[bool] | None = None  # the work waits for the next beat
        self._waiters: list[asyncio.Future[bool]] = []
        self._silence: asyncio.TimerHandle | None = None  # looks at times whether readers need a sign of life
        self.renewed_at = self._published_at = self._loop.time()

    # -- writing ---------------------------------------------------------------------------------------------

    def add_text(self, text: str, tokens: int) -> None:
        """Text that the guardrails have released. Cheap: called for every read from the node."""
        self._text.append(text)
        self._written.append(text)
        self._tokens += tokens
        if self._tokens >= CHECKPOINT_TOKENS:
            self._next_beat = 0.0
            if self._timer:
                self._timer.cancel()
                self._timer = None
        self._schedule()

    def add(self, event: RunEvent) -> None:
        """Any other event, in order with the text."""
        self._seal_text()
        self._pending.append(event)
        self._schedule()

    def _seal_text(self) -> None:
        if self._text:
            self._is_beating = True
            self._pending.append(Delta(text="".join(self._text)))
            self._text.clear()
            self._tokens = 0

    def _schedule(self) -> None:
        if self._timer is None and self._storing is None and not self._ending:
            # The first text leaves at once; from then on a beat apart.
            delay = self._next_beat - self._loop.time()
            self._timer = self._loop.call_later(max(0.0, delay), self._beat)

    def _beat(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not (self._storing or self._ending or self.closed):
            self._checkpoint(self._lease_s)

    def _checkpoint(self, lease_s: float) -> asyncio.Future[bool]:
        """Hand to the store what is pending. A callback and no task: this runs once a beat for every run. The store
        is not cancelled with the work: what it was given is numbered already."""
        assert self._storing is None
        self._seal_text()
        batch, self._pending = self._numbered(self._pending), []
        run, until = self.run, self._clock() + int(1000 * lease_s)
        self._storing = asyncio.ensure_future(
            self._store.append_events(run.owner, run.id, run.epoch, batch, lease_until_ms=until)
        )
        self._storing.add_done_callback(partial(self._stored, batch))
        return self._storing

    def _stored(self, batch: Sequence[LoggedEvent], storing: asyncio.Future[bool]) -> None:
        self._storing = None
        if storing.cancelled():
            return
        if fault := storing.exception():
            self._lose(fault)
            return
        self.renewed_at = self._loop.time()
        if self._is_beating:
            self._next_beat = self._beats.after(self.renewed_at, self._beat_s)
        self._publish(batch)
        if storing.result():
            self.stop()
        if not self.closed and (self._pending or self._text):
            self._schedule()
        elif self._due:
            self._beats.resolve(self._due, self._next_beat)

    async def paced(self) -> None:
        """Until the next beat is due. What the node says meanwhile waits in its connection: so a run is woken, and
        its guardrails run, once a beat and not once a token. No wait before the first text: the guardrails may have
        held back the beginning of it."""
        if self.closed or not (self._is_beating or self._text):
            return
        self._due = self._loop.create_future()
        if not (self._pending or self._text or self._storing):
            self._beats.resolve(self._due, self._next_beat)
        await self._due

    def _numbered(self, events: Sequence[RunEvent]) -> list[LoggedEvent]:
        first = len(self.events) + 1
        return [LoggedEvent.of(seq, event) for seq, event in enumerate(events, first)]

    def _publish(self, batch: Sequence[LoggedEvent]) -> None:
        if batch:
            self.events.extend(batch)
            self._published_at = self._loop.time()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            _resolve(waiter, True)

    def _lose(self, fault: BaseException) -> None:
        """The store refused a checkpoint: fenced, or out of reach. Either way this process may write no more;
        the lease runs out and whoever claims the run continues from what is stored."""
        log("run.lost", run=self.run.id, epoch=self.run.epoch, reason=type(fault).__name__)
        self.close()
        if self.task and self.began:
            self.task.cancel()

    def written(self) -> str:
        """The answer so far: what is stored, and what has been released and is on its way to the store."""
        return "".join(self._written)

    @property
    def has_shown(self) -> bool:
        """Whether text was released for readers, be it that it was taken back since."""
        return bool(self._written)

    async def finish(
        self, run: Run, events: Sequence[RunEvent], answer: Message | None, *, withdraw: bool = False
    ) -> None:
        """The one end, under a shield: everything durable is done before a reader sees the terminal event. With
        `withdraw` the log keeps none of the text, nor does this process. Raises Fenced."""
        self._ending = True
        self._finishing = asyncio.create_task(self._finish(run, events, answer, withdraw))
        await asyncio.shield(self._finishing)

    async def _finish(self, run: Run, events: Sequence[RunEvent], answer: Message | None, withdraw: bool) -> None:
        await self._settled()
        if withdraw and self._pending and not self.closed:
            # The verdict first: a worker that dies below leaves half a log behind, and the next must know why.
            await asyncio.wait([self._checkpoint(self._lease_s)])
        if self.closed:
            raise Fenced("This run is owned by another worker now.")
        self._seal_text()
        batch = self._numbered([*self._pending, *events])
        run = msgspec.structs.replace(run, last_seq=batch[-1].seq)
        await self._store.finish_run(run.owner, run, batch, answer, withdraw=withdraw)
        if withdraw:
            self.events = [event.without_text() for event in self.events]
            batch = [event.without_text() for event in batch]
        self._pending, self.run = [], run
        self._publish(batch)
        self.close()

    async def _settled(self) -> None:
        """Until no checkpoint is under way."""
        while self._storing is not None:
            await asyncio.wait([self._storing])

    async def release(self) -> None:
        """Shutting down: store what is pending and give the lease back, so that another worker need not wait."""
        if self._finishing:
            await asyncio.wait([self._finishing])
        await self._settled()
        if not self.closed:
            await asyncio.wait([self._checkpoint(lease_s=0)])
        self.close()

    def renew(self) -> None:
        """A checkpoint now, unless one is under way."""
        self._beat()

    def close(self) -> None:
        self.closed = True
        self._publish(())
        if self._silence:
            self._silence.cancel()
        if self._due:
            _resolve(self._due, True)

    def stop(self) -> None:
        """Ask the work to stop; it keeps what it has and ends as `stopped`."""
        if not (self.stopping or self.closed or self._ending):
            self.stopping = True
            if self.task and self.began:
                self.task.cancel()

    # -- reading ---------------------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        return bool(self.events) and isinstance(self.events[-1].event, TERMINAL_EVENTS)

    async def wait(self) -> bool:
        """Until something is published (True), or nothing was for PING_SECONDS (False). Only a future: this runs
        once a beat for every reader. One that is cancelled is forgotten at the next beat."""
        future: asyncio.Future[bool] = self._loop.create_future()
        self._waiters.append(future)
        if self._silence is None:
            self._silence = self._loop.call_later(PING_SECONDS, self._break_silence)
        return await future

    def _break_silence(self) -> None:
        """One timer a run, set anew when it has rung."""
        left_s = self._published_at + PING_SECONDS - self._loop.time()
        self._silence = None
        if left_s > 0 and not self.closed:
            self._silence = self._loop.call_later(left_s, self._break_silence)
            return
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            _resolve(waiter, False)


class Runs:
    """The runs of this process, and the way to any run for a reader.

    `takeover(owner, run_id)` is called when a reader finds that a run's worker has gone silent: serverless
    hosts have no worker process that would notice.
    """

    def __init__(self, store: ChatStore, *, worker: str, beat_s: float, lease_s: float, clock: Clock) -> None:
        self.worker, self.lease_s, self.clock = worker, lease_s, clock
        self.takeover: Callable[[str, str], Awaitable[bool]] | None = None
        self._store, self._beat_s, self._beats = store, beat_s, _Beats()
        self._live: dict[str, RunLog] = {}
        self._renewals: asyncio.Task[None] | None = None
        self._closing = False

    def lease_until_ms(self) -> int:
        return self.clock() + int(1000 * self.lease_s)

    def is_live(self, run_id: str) -> bool:
        """Whether this process is writing the run."""
        live = self._live.get(run_id)
        return live is not None and not live.closed

    @property
    def live_count(self) -> int:
        """How many runs this process is writing."""
        return len(self._live)

    def start(self, run: Run, events: Sequence[LoggedEvent], work: Callable[[RunLog], Awaitable[None]]) -> RunLog:
        """Run `work` in a task of its own; it belongs to the run, not to any connection."""
        run_log = RunLog(
            self._store,
            run,
            events,
            beats=self._beats,
            beat_s=self._beat_s,
            lease_s=self.lease_s,
            clock=self.clock,
        )
        self._live[run.id] = run_log
        self._beats.keep_up_with(len(self._live))
        run_log.task = asyncio.create_task(self._work(run_log, work), name=f"run {run.id}")
        if self._renewals is None or self._renewals.done():
            self._renewals = asyncio.create_task(self._renew_leases(), name="leases")
        return run_log

    async def _work(self, run_log: RunLog, work: Callable[[RunLog], Awaitable[None]]) -> None:
        run_log.began = True
        try:
            if not run_log.closed:
                await work(run_log)
        except Fenced:
            log("run.fenced", run=run_log.run.id, epoch=run_log.run.epoch)
        except Exception:  # the edge of a task: nobody else would hear of it
            log_fault("run.broke", run=run_log.run.id)
        finally:
            run_log.close()
            if self._live.get(run_log.run.id) is run_log:  # it may have been claimed again meanwhile
                del self._live[run_log.run.id]
            self._beats.keep_up_with(len(self._live))

    async def _renew_leases(self) -> None:
        """A run that waits (a GPU wakes, a tool is slow) writes nothing; its lease is kept alive here."""
        while self._live:
            await asyncio.sleep(self.lease_s / 3)
            due = asyncio.get_running_loop().time() - self.lease_s / 3
            for run_log in self._live.values():
                if run_log.renewed_at < due:
                    run_log.renew()

    # -- readers ---------------------------------------------------------------------------------------------

    async def follow(self, owner: str, run_id: str, after: int = 0) -> AsyncGenerator[Sequence[LoggedEvent], None]:
        """The run's events with seq > `after`: what is stored, then live, then the end. An empty batch is a
        sign of life, at most every PING_SECONDS. Raises NotFound; BadInput when `after` is ahead of the log."""
        self.refuse_when_closing()
        live = self._mine(owner, run_id)
        run = None if live else await self._store.get_run(owner, run_id)
        last = run.last_seq if run else len(live.events) if live else 0
        if not 0 <= after <= last:
            raise BadInput(
                "The cursor is not in this run; reconnect with the last id you received.",
                code="bad_cursor",
                param="last_event_id",
            )
        if run and run.status in TERMINAL and after == last:
            return _nothing()  # it has all been read: a reader that reconnects after the end must not wait for more
        return self._follow(owner, run_id, after)

    def refuse_when_closing(self) -> None:
        """Raises Overloaded while this process shuts down: nothing begins here any more."""
        if self._closing:
            raise Overloaded("Parley is restarting; try again in a moment.", code="restarting")

    async def _follow(self, owner: str, run_id: str, after: int) -> AsyncGenerator[Sequence[LoggedEvent], None]:
        while not self._closing:
            if live := self._mine(owner, run_id):
                live.readers += 1
                try:
                    # When it is closed and was not ended, it was fenced or released: the store knows how it goes on.
                    while not live.closed or len(live.events) > after:
                        news = live.events[after:]  # seq n stands at index n - 1
                        if news or not await live.wait():
                            yield news
                            after += len(news)
                    if live.has_ended:
                        return
                finally:
                    live.readers -= 1
                continue
            async with aclosing(self._follow_stored(owner, run_id, after)) as batches:
                async for batch in batches:
                    yield batch
                    if batch:
                        after = batch[-1].seq
                        if isinstance(batch[-1].event, TERMINAL_EVENTS):
                            return
            if await self._is_over(owner, run_id, after):
                return

    def _mine(self, owner: str, run_id: str) -> RunLog | None:
        live = self._live.get(run_id)
        return live if live and live.run.owner == owner and not live.closed else None

    async def _follow_stored(self, owner: str, run_id: str, after: int) -> AsyncGenerator[Sequence[LoggedEvent], None]:
        pause, quiet = FIRST_POLL_SECONDS, 0.0
        while not self._closing and not self._mine(owner, run_id):
            if batch := await self._store.read_events(owner, run_id, after=after):
                after, pause, quiet = batch[-1].seq, FIRST_POLL_SECONDS, 0.0
                yield batch
                continue
            if quiet >= PING_SECONDS:
                yield ()
                quiet = 0.0
            run = await self._store.get_run(owner, run_id)
            if run.status in TERMINAL or await self._revive(run):
                return
            await asyncio.sleep(pause)
            quiet += pause
            pause = min(2 * pause, READER_POLL_SECONDS)

    async def _is_over(self, owner: str, run_id: str, after: int) -> bool:
        """Whether nothing more will come: it has ended, and what is left of its log has been read. (A log is kept for
        a week; the answer itself stands in the chat.)"""
        if self._mine(owner, run_id):
            return False
        run = await self._store.get_run(owner, run_id)
        return run.status in TERMINAL and not await self._store.read_events(owner, run_id, after=after)

    async def _revive(self, run: Run) -> bool:
        """Take over a run whose worker has gone silent."""
        if self.takeover is None or run.status != "running" or run.lease_until_ms >= self.clock():
            return False
        return await self.takeover(run.owner, run.id)

    # -- stopping --------------------------------------------------------------------------------------------

    async def stop(self, owner: str, run_id: str) -> Run:
        """Ask for the end of a run, wherever it runs; returns the run as it is when the asking is done.
        Raises NotFound."""
        run = await self._store.request_stop(owner, run_id)
        if run.status in TERMINAL:
            return run
        live = self._live.get(run_id)
        if live and live.run.owner == owner:
            live.stop()
            if live.task:
                await asyncio.wait([live.task], timeout=1.0)
        elif self.takeover:
            # Queued, or its worker is dead: nobody else would end it soon. Lost claim: its worker sees the flag.
            await self.takeover(owner, run_id)
        return await self._store.get_run(owner, run_id)

    async def stop_all(self, owner: str) -> None:
        """Stop all that runs or waits for one owner: here, and wait a moment for it to end; elsewhere, whoever writes
        it hears of it at the next checkpoint."""
        await self._store.stop_runs(owner)
        lives = [live for live in self._live.values() if live.run.owner == owner]
        for live in lives:
            live.stop()
        if tasks := [live.task for live in lives if live.task]:
            await asyncio.wait(tasks, timeout=2.0)

    def abandon(self, run_id: str, grace_s: float) -> None:
        """Stop the run unless a reader comes back within `grace_s` (for clients that have no way to resume)."""
        live = self._live.get(run_id)
        if live:
            asyncio.get_running_loop().call_later(grace_s, _stop_if_alone, live)

    async def settle(self) -> None:
        """Until no run of this process is under way."""
        while tasks := [live.task for live in self._live.values() if live.task]:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Release every run: pending text stored, lease given back, readers let go. Safe to call again."""
        self._closing = True
        lives = list(self._live.values())
        await asyncio.gather(*(live.release() for live in lives), return_exceptions=True)
        tasks = [live.task for live in lives if live.task]
        for task in tasks:
            task.cancel()
        if self._renewals:
            self._renewals.cancel()
            tasks.append(self._renewals)
        await asyncio.gather(*tasks, return_exceptions=True)


async def _nothing() -> AsyncGenerator[Sequence[LoggedEvent], None]:
    return
    yield ()


def _resolve(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)


def _stop_if_alone(live: RunLog) -> None:
    if not live.readers:
        live.stop()
