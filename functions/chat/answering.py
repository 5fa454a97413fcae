"""How an answer comes about, from an accepted run to its end.

    answer()  history, memories, passages → cache or gateway → output rails → guard model, if any → run log → the end

A run that was taken over goes through the same, from what its log holds. `closing.py` says how it ends.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, nullcontext, suppress
from typing import Any, assert_never

import msgspec

from functions import tracing
from functions.chat import opening
from functions.chat.books import Books
from functions.chat.closing import Ending, Progress, closed
from functions.chat.figures import Figures
from functions.chat.follow_ups import EndedTurn, FollowUps
from functions.chat.guarded import Asked, Gate, cut_off_in, refusal_in, strings_in
from functions.chat.measured import run_ended
from functions.chat.messages import Cited, Problem, Run, StatusChanged, ToolCalls, Usage, Verdict
from functions.chat.moderator import Moderator, stays
from functions.chat.prompts import Prompts
from functions.chat.quotas import Quotas
from functions.chat.rails import Rails, tell
from functions.chat.runs import RunLog, Runs
from functions.chat.semantic_cache import SemanticCache
from functions.chat.sources import Finder
from functions.errors import Fenced, NotFound, Overloaded, ParleyError, UpstreamError
from functions.guardrails.windows import OutgoingRails
from functions.inference.gateway import End, Gateway, Token, Waiting
from functions.ports import ChatStore
from functions.settings import RUN_SECONDS, WAITING_RUNS
from functions.telemetry import log, log_fault

MAX_CLAIMS = 5  # a run that has killed this many workers is given up
CONTINUATIONS = 2  # of an answer whose node died in the middle
BROKEN_OFF = ("model_error", "model_timeout")
FULL_SECONDS = 1.0, 10.0  # between two questions whether there is room again: the first pause, and the longest


class Answering:
    """Of one process: it makes any number of answers at once, and keeps nothing between them."""

    def __init__(
        self,
        *,
        store: ChatStore,
        runs: Runs,
        gateway: Gateway,
        prompts: Prompts,
        quotas: Quotas,
        books: Books,
        follow_ups: FollowUps | None,
        cache: SemanticCache | None,
        finder: Finder | None,
        figures: Figures | None = None,
    ) -> None:
        self._store, self._runs, self._gateway, self._prompts = store, runs, gateway, prompts
        self._quotas, self._books, self._follow_ups = quotas, books, follow_ups
        self._cache, self._finder, self._figures = cache, finder, figures
        self._waiting = 0  # runs before full queues

    async def answer(self, run_log: RunLog, rails: Rails) -> None:
        """Make the answer and end the run, once. A stop keeps what there is; a fault keeps it too and says so;
        a shutdown or a lost lease leaves the run to the next worker."""
        run = run_log.run
        with tracing.span(
            "run", parent=run.traceparent, is_linked=run.epoch > 1, run=run.id, model=run.model, epoch=run.epoch
        ):
            await self._answer(run_log, rails)

    async def _answer(self, run_log: RunLog, rails: Rails) -> None:
        run = run_log.run
        now = self._runs.clock()
        accepted = int(run.created_at.timestamp() * 1000)
        verdicts = opening.verdicts_in(run_log.events)
        progress = Progress(accepted_ms=accepted, began_ms=now, rails=rails, verdicts=verdicts)
        progress.citations = opening.citations_in(run_log.events)
        progress.refusal = refusal_in(progress.verdicts)  # an earlier worker had it, and no time to end the run
        ending: Ending = "completed"
        try:
            if run_log.stopping:
                raise asyncio.CancelledError
            if run.epoch > MAX_CLAIMS:
                raise UpstreamError("The answer was interrupted too often; please try again.", code="gave_up")
            async with asyncio.timeout(max(0.0, RUN_SECONDS - (now - accepted) / 1000)):  # takeovers included
                if (cut_off := cut_off_in(verdicts)) is not None:
                    progress.cut_off = cut_off
                elif progress.refusal is None:
                    await self._generate(run_log, progress)
        except asyncio.CancelledError:
            if run_log.closed or not run_log.stopping:
                await self._leave(run, progress)
                raise
            if task := asyncio.current_task():
                task.uncancel()
            ending = "stopped"
        except TimeoutError:
            ending = Problem(code="run_timeout", message="The answer took too long and was cut; try again.")
        except Fenced:
            raise
        except ParleyError as fault:
            ending = Problem(code=fault.code, message=fault.message)
        except Exception:  # the edge of the run: the reader gets an event, the log gets the trace
            log_fault("run.fault", run=run.id)
            ending = Problem(code="internal", message="Something broke on our side; please try again.")
        await self._end(run_log, progress, await self._last_word(run_log, progress, ending))

    async def _last_word(self, run_log: RunLog, progress: Progress, ending: Ending) -> Ending:
        """The guard model's: also an answer that was stopped or broke off is judged as far as it was shown. What it
        refuses is taken back; where nothing was shown, the refusal is the answer."""
        if (ending != "completed" or progress.cut_off is not None) and progress.refusal is None:
            try:
                await self._last_look(run_log, progress)
            except asyncio.CancelledError:
                await self._leave(run_log.run, progress)
                raise
        if progress.gate is not None and progress.gate.refusal is not None:
            progress.refusal = progress.gate.refusal
        if progress.refusal is None:
            if progress.cut_off is not None and ending == "completed":
                self._cut_off(run_log, progress.cut_off, progress)
            return ending
        progress.finish_reason = "content_filter"
        if not run_log.has_shown:
            run_log.add_text(progress.refusal, 0)
        elif run_log.written() != progress.refusal:
            progress.is_withdrawn = True
        return "completed"

    async def _last_look(self, run_log: RunLog, progress: Progress) -> None:
        if progress.gate is None and progress.rails.moderator is not None and run_log.written():
            # Taken over only to be ended: another worker showed this text, and its judgements went with it.
            with suppress(NotFound):  # the chat was deleted: nobody is left to see it
                asked = await self._prompts.asked(run_log.run)
                progress.gate = self._gate(progress.rails.moderator, run_log, asked, progress)
        if progress.gate is not None:
            await progress.gate.last_look()

    async def _generate(self, run_log: RunLog, progress: Progress) -> None:
        """The answer, whole: a node that dies in the middle of it is continued by another, as a dead worker is. What it
        had said and the rails still held back is forgotten; the next one says it again."""
        for _ in range(CONTINUATIONS):
            try:
                await self._stream(run_log, progress)
            except UpstreamError as fault:
                if progress.gate is not None and progress.gate.refusal is not None:
                    return
                if fault.code not in BROKEN_OFF or not (run_log.written() or progress.is_flowing):
                    raise
                log("run.continued", run=run_log.run.id, code=fault.code)
                progress.is_flowing, elapsed_ms = False, self._runs.clock() - progress.accepted_ms
                run_log.add(StatusChanged(phase="retrying", elapsed_ms=elapsed_ms))
            else:
                return
        await self._stream(run_log, progress)

    async def _stream(self, run_log: RunLog, progress: Progress) -> None:
        """One node's part: through the output rails, past the guard model, into the log, from wherever that stands."""
        prefix = run_log.written()
        # An answer that has begun was begun without what is not there yet.
        waits = None if prefix else self._waits_for_notes(run_log, progress)
        with tracing.span("context"):
            await self._look_up(run_log, progress)
            prompt = await self._prompts.of(run_log.run, waits, progress.sources)
        asked, progress.depth = prompt.asked, prompt.depth
        progress.left_out, progress.summarised = prompt.left_out, prompt.summarised
        progress.memories = prompt.memories
        if self._cache is not None and not prefix:
            with tracing.span("cache"):
                progress.look = await self._cache.look(run_log.run, prompt, progress.rails.policy.version)
        rails = progress.rails.outgoing(prefix, asked.language)
        progress.railed = 0
        if progress.rails.moderator is not None and progress.gate is None:
            progress.gate = self._gate(progress.rails.moderator, run_log, asked, progress)
        gate = progress.gate
        async with gate.watching() if gate is not None else nullcontext():
            with tracing.span("gateway", kind="client"):
                end = await self._read_when_there_is_room(run_log, rails, prompt.messages, prefix, progress)
            calls = self._checked_calls(run_log, end, progress) if end is not None and not rails.blocked else ()
            if gate is not None and not await gate.finish(list(strings_in(calls))):
                return
            if rails.blocked:
                self._cut_off(run_log, rails.refusal, progress)
            elif calls:
                run_log.add(ToolCalls(calls=calls))

    async def _look_up(self, run_log: RunLog, progress: Progress) -> None:
        """The passages of the documents, once for a run: an answer that has begun goes on with what it began with."""
        run = run_log.run
        if not run.knowledge or self._finder is None or progress.sources is not None:
            return
        if progress.citations or run_log.written():
            progress.sources = await self._finder.again(run, progress.citations, progress.rails)
            return
        questions, room = await self._prompts.to_look_up(run)
        progress.sources = await self._finder.find(
            run, questions, room, progress.rails, lambda verdict: self._note(run_log, verdict, progress)
        )
        progress.citations = progress.sources.citations
        for citation in progress.citations:
            run_log.add(Cited(**msgspec.structs.asdict(citation)))

    def _cut_off(self, run_log: RunLog, refusal: str, progress: Progress) -> None:
        """A rail has cut the answer off; an earlier worker may have said so already."""
        progress.finish_reason = "content_filter"
        if not run_log.written().endswith(refusal):
            run_log.add_text(("\n\n" if run_log.written() else "") + refusal, 0)

    async def _read_when_there_is_room(
        self,
        run_log: RunLog,
        rails: OutgoingRails,
        prompt: Sequence[dict[str, Any]],
        prefix: str,
        progress: Progress,
    ) -> End | None:
        """What the node says. When every queue is full, whoever keeps a chat waits: the question is stored, and a
        client would only send it again. Without a chat the client hears of it at once, and tries again by itself."""
        first_s, longest_s = FULL_SECONDS
        pause_s = first_s
        while True:
            try:
                return await self._read(run_log, rails, prompt, prefix, progress)
            except Overloaded:
                now_ms = self._runs.clock()
                left_s = RUN_SECONDS - (now_ms - progress.accepted_ms) / 1000
                if progress.is_flowing or run_log.run.chat_id is None or left_s <= pause_s:
                    raise
                if self._waiting >= WAITING_RUNS:
                    raise
                run_log.add(StatusChanged(phase="queued", elapsed_ms=now_ms - progress.accepted_ms))
                await self._wait(pause_s * random.uniform(0.5, 1.0))  # so that waiters do not come back all at once
                progress.wake_ms += self._runs.clock() - now_ms
                pause_s = min(2 * pause_s, longest_s)

    async def _wait(self, pause_s: float) -> None:
        self._waiting += 1
        try:
            await asyncio.sleep(pause_s)
        finally:
            self._waiting -= 1

    async def _read(
        self,
        run_log: RunLog,
        rails: OutgoingRails,
        prompt: Sequence[dict[str, Any]],
        prefix: str,
        progress: Progress,
    ) -> End | None:
        """What the node says, through the rails; None when they blocked it, or nothing was left to say."""
        run = run_log.run
        sampling, progress.prefix_tokens = await self._prompts.remaining(run, prefix)
        if sampling is None:
            progress.finish_reason = "length"
            return None
        push = run_log.add_text if progress.gate is None else progress.gate.push
        waited_from = 0
        session = run.chat_id or run.id
        found = progress.look.found if progress.look is not None and not prefix else None
        if found is not None:
            answering: AsyncGenerator[Waiting | Token | End, None] = found.stream(run_log.paced)
        else:
            answering = self._gateway.stream(
                run.model, prompt, sampling, session_id=session, prefix=prefix, pace=run_log.paced, uses=progress.uses
            )
        async with aclosing(answering) as stream:
            async for item in stream:
                match item:
                    case Token(text=text, count=count):
                        if not progress.is_flowing:
                            self._first_token(run_log, progress, waited_from)
                        self._show(run_log, rails, push, await rails.push(text), count, progress)
                        if rails.blocked:
                            return None
                    case Waiting():
                        waited_from = waited_from or self._runs.clock()
                        run_log.add(self._status(item, progress))
                    case End():
                        progress.finish_reason, progress.usage = item.finish_reason, item.usage
                        self._show(run_log, rails, push, await rails.finish(), 0, progress)
                        return item
                    case _:
                        assert_never(item)
        return None

    def _gate(self, moderator: Moderator, run_log: RunLog, asked: Asked, progress: Progress) -> Gate:
        return Gate(
            moderator,
            run_log,
            asked,
            verdicts=progress.verdicts,
            uses=progress.guard_uses,
            note=lambda verdict: self._note(run_log, verdict, progress),
            begins=lambda: self._begin_text(run_log, progress),
            waits=lambda waiting: run_log.add(self._status(waiting, progress)),
        )

    async def _leave(self, run: Run, progress: Progress) -> None:
        """The run was lost, or is left to the next worker. What it used here is written down; and if it went with its
        chat, nobody else will give its reservation back."""
        guard_uses = stays(progress.guard_uses)
        await self._books.enter(run, progress.uses, progress.usage_here, guard_uses)
        if run.held:
            cost = self._books.cost([*guard_uses, *progress.uses], self._gateway.nodes)
            try:
                await self._store.get_run(run.owner, run.id)
            except NotFound:
                await self._quotas.settle_run(run, progress.usage_here, cost)
            else:  # its tokens come back as the next worker's prompt, and are counted at the end
                await self._quotas.settle_run(run, Usage(), cost, ends=False)

    def _first_token(self, run_log: RunLog, progress: Progress, waited_from: int) -> None:
        progress.is_flowing = True
        progress.wake_ms += self._runs.clock() - waited_from if waited_from else 0
        if progress.gate is None:
            self._begin_text(run_log, progress)

    def _begin_text(self, run_log: RunLog, progress: Progress) -> None:
        elapsed_ms = max(1, self._runs.clock() - progress.accepted_ms)
        progress.ttft_ms = progress.ttft_ms or elapsed_ms
        run_log.add(StatusChanged(phase="generating", elapsed_ms=elapsed_ms))

    def _note(self, run_log: RunLog, verdict: Verdict, progress: Progress) -> None:
        progress.verdicts.append(verdict)
        run_log.add(opening.acted(verdict))
        tell(run_log.run.id, [verdict])
        if self._figures is not None:
            self._figures.note([verdict])

    def _show(
        self,
        run_log: RunLog,
        rails: OutgoingRails,
        push: Callable[[str, int], None],
        text: str,
        count: int,
        progress: Progress,
    ) -> None:
        """What the rails let through, and what they did, in the order of the text."""
        if len(rails.verdicts) > progress.railed:
            for verdict in rails.verdicts[progress.railed :]:
                self._note(run_log, verdict, progress)
            progress.railed = len(rails.verdicts)
        progress.generated += count
        if text:
            push(text, count)

    def _checked_calls(self, run_log: RunLog, end: End, progress: Progress) -> tuple[dict[str, Any], ...]:
        """Tool calls leave whole, after the rails have seen the arguments; none where one of them is blocked."""
        if not end.tool_calls:
            return ()
        checked = progress.rails.check_calls(list(end.tool_calls))
        for verdict in checked.verdicts:
            self._note(run_log, verdict, progress)
        if checked.blocked:
            progress.finish_reason = "content_filter"
            return ()
        return tuple(checked.value)

    def _status(self, waiting: Waiting, progress: Progress) -> StatusChanged:
        return StatusChanged(
            phase=waiting.phase,
            elapsed_ms=self._runs.clock() - progress.accepted_ms,
            eta_p50_ms=waiting.eta_p50_ms,
            eta_p90_ms=waiting.eta_p90_ms,
            position=waiting.position,
        )

    def _waits_for_notes(self, run_log: RunLog, progress: Progress) -> Callable[[Waiting | None], None]:
        """Says that the question waits: for the notes that it needs, or for the model that makes them."""

        def waits(waiting: Waiting | None) -> None:
            elapsed_ms = self._runs.clock() - progress.accepted_ms
            queued = StatusChanged(phase="queued", elapsed_ms=elapsed_ms)
            run_log.add(queued if waiting is None else self._status(waiting, progress))

        return waits

    # -- the end ---------------------------------------------------------------------------------------------

    async def _end(self, run_log: RunLog, progress: Progress, ending: Ending) -> None:
        run = run_log.run
        guard_uses = stays(progress.guard_uses)
        cost = self._books.cost([*guard_uses, *progress.uses], self._gateway.nodes)
        ended, answer, last = closed(run, run_log.written(), progress, ending, now_ms=self._runs.clock(), cost=cost)
        # Both at once; the ledger's entry is idempotent, and a run that was fenced has used the node all the same.
        entering = asyncio.create_task(self._books.enter(run, progress.uses, progress.usage_here, guard_uses))
        try:
            with suppress(NotFound):  # the chat was deleted meanwhile: nobody is left to hear of it
                await run_log.finish(ended, [last], answer if run.chat_id else None, withdraw=progress.is_withdrawn)
        finally:
            await asyncio.shield(entering)
        await self._quotas.settle_run(run, ended.usage, cost)
        used = ended.usage.prompt_tokens + ended.usage.completion_tokens
        log(
            "run.ended",
            run=run.id,
            status=ended.status,
            code=ended.error.code if ended.error else None,
            **msgspec.structs.asdict(ended.usage),
            **msgspec.structs.asdict(ended.timings),
            **msgspec.structs.asdict(cost),
        )
        run_ended(ended, answer)
        tracing.note(status=ended.status, code=ended.error.code if ended.error else None, tokens=used)
        if self._follow_ups is not None and run.chat_id is not None:
            await self._follow_ups.after(EndedTurn(ended, answer, progress.depth))
        if self._cache is not None and progress.look is not None:
            await self._cache.keep(progress.look, ended, answer)
