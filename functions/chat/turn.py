"""One message's way. READ FIRST.

    start()   limits → input guardrails → one transaction (message + run) → the run begins
    resume()  the same run, taken over by another worker from the stored prefix

What comes between, from the accepted run to its end, is `answering.py`: read it next.

A turn knows ports and the engine behind `gateway`; it knows no HTTP, no database and no environment.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from functions import tracing
from functions.chat import context, opening
from functions.chat.allowances import Amounts
from functions.chat.answering import Answering
from functions.chat.books import Books
from functions.chat.figures import Figures
from functions.chat.follow_ups import FollowUps
from functions.chat.memory import Memories
from functions.chat.messages import TERMINAL, CacheUse, Chat, Message, Run, Verdict, new_id
from functions.chat.opening import TurnRequest
from functions.chat.prompts import Prompts
from functions.chat.quotas import Asker, Quotas
from functions.chat.rails import Rails, tell
from functions.chat.runs import RunLog, Runs
from functions.chat.semantic_cache import SemanticCache
from functions.chat.sources import Finder
from functions.chat.summary import Summaries
from functions.errors import BadInput, NotFound, UpstreamError
from functions.guardrails.validators import InputResult
from functions.inference.gateway import Gateway, ModelInfo
from functions.ports import ChatStore
from functions.telemetry import count, log


class Turns:
    """The story of a message, over the ports and the engine."""

    def __init__(
        self,
        *,
        store: ChatStore,
        runs: Runs,
        gateway: Gateway,
        rails: Rails,
        system_prompt: str,
        quotas: Quotas,
        books: Books,
        context_policy: context.ContextPolicy,
        summaries: Summaries | None = None,
        follow_ups: FollowUps | None = None,
        cache: SemanticCache | None = None,
        memories: Memories | None = None,
        finder: Finder | None = None,
        figures: Figures | None = None,
        key: bytes = b"",
    ) -> None:
        """`key` is for the fences around what was looked up."""
        self._store, self._runs, self._gateway = store, runs, gateway
        self.rails = rails  # of the runs that begin now; replaced when the policy is
        self._quotas, self._memories = quotas, memories
        self._answering = Answering(
            store=store,
            runs=runs,
            gateway=gateway,
            prompts=Prompts(store, gateway, system_prompt, context_policy, summaries, memories, key),
            quotas=quotas,
            books=books,
            follow_ups=follow_ups,
            cache=cache,
            finder=finder,
            figures=figures,
        )
        self._figures = figures
        self._resuming: set[str] = set()
        runs.takeover = self.resume

    def model(self, name: str | None) -> ModelInfo:
        """The model of this name, or the first one. Raises NotFound, UpstreamError when there is none at all."""
        models = self._gateway.models()
        if not models:
            raise UpstreamError("No model is ready yet; try again in a moment.")
        for info in models:
            if name in (None, info.id):
                return info
        raise NotFound(
            f"There is no model {name!r} here; GET /v1/models lists them.", code="model_not_found", param="model"
        )

    # -- the beginning ---------------------------------------------------------------------------------------

    async def start(self, owner: str, request: TurnRequest, who: Asker | None = None) -> Run:
        """Store the message and its run, and set the run going. Sent again, it returns the same run. `who` says more
        of the owner's call than that it is theirs.

        Raises BadInput, NotFound, Conflict, Limited, Paused; then nothing is stored and no engine was called.
        """
        self._runs.refuse_when_closing()
        asked = self.model(request.model) if request.model else None
        chat = await self._store.get_chat(owner, request.chat_id) if request.chat_id else None
        known = chat is not None and any(info.id == chat.model for info in self._gateway.models())
        # A chat outlives its model: when that is gone, the default answers.
        model = asked or self.model(chat.model if chat and known else None)
        context.prompt_budget(model.context_tokens, request.sampling.max_tokens)
        asker, run_id = who or Asker(owner), new_id()
        if not request.replace_key and (again := await self._found(asker, request)):
            return again  # a repeat meets its own run, not its own limits
        most, size = request.sampling.max_tokens, opening.size_of(request)
        wanted = self._quotas.estimate(model.id, most, size, usd_per_hour=model.usd_per_hour)
        held = await self._quotas.reserve(asker, run_id, wanted)
        runs_on = False
        try:
            with tracing.span("turn", model=model.id):
                run, is_new = await self._begin(owner, request, chat, model.id, run_id, held)
            runs_on = is_new and run.status not in TERMINAL
            return run
        finally:
            if not runs_on:  # refused, blocked, or somebody else's run: nothing will be generated for this call
                await self._quotas.settle(held, run_id, Amounts())

    async def _found(self, asker: Asker, request: TurnRequest) -> Run | None:
        if not await self._quotas.is_any(asker):
            return None  # then begin_turn finds it just as well, and nearly every request is new
        return await self._store.find_turn(asker.owner, request.key, opening.body_hash(request))

    async def _begin(
        self, owner: str, request: TurnRequest, chat: Chat | None, model: str, run_id: str, held: tuple[str, ...]
    ) -> tuple[Run, bool]:
        rails, question = self.rails, await self._question(owner, request, chat)
        with tracing.span("input_rails"):
            checked, prompt = await self._check_input(rails, owner, request, question)
        extra = rails.check_rest(request.sampling.extra)
        checked = InputResult(checked.text, checked.blocked or extra.blocked, (*extra.verdicts, *checked.verdicts))
        now = self._now()
        run = Run(
            id=run_id,
            owner=owner,
            chat_id=request.chat_id,
            user_message_id=question.id if question else None,
            assistant_message_id=new_id(),
            model=model,
            created_at=now,
            sampling=msgspec.structs.replace(request.sampling, extra=extra.value),
            prompt=prompt,
            cache=_cache_use(request, chat),
            knowledge=request.knowledge,
            held=held,
            verdicts=checked.verdicts,
            traceparent=tracing.traceparent(),
        )
        if question and not request.regenerate:
            status: Literal["blocked", "complete"] = "blocked" if checked.blocked else "complete"
            question = msgspec.structs.replace(
                question, content=checked.text, created_at=now, status=status, verdicts=checked.verdicts
            )
        title = opening.title_of(question.content) if chat and not chat.title and question else None
        now_ms = self._runs.clock()
        if checked.blocked:
            refusal = next(v.message for v in reversed(checked.verdicts) if v.action == "blocked")
            turn = opening.refused(request, run, question, title, refusal, now_ms=now_ms)
        elif request.mode == "async":
            turn = opening.going(request, run, question, title, now_ms=now_ms, job_at_ms=now_ms)
        else:
            # This process runs what it accepts: it claims the run in the transaction that stores it.
            until = self._runs.lease_until_ms()
            claimed = msgspec.structs.replace(
                run, status="running", epoch=1, worker=self._runs.worker, lease_until_ms=until
            )
            turn = opening.going(request, claimed, question, title, now_ms=now_ms, job_at_ms=until)
        stored, is_new = await self._store.begin_turn(owner, turn)
        if is_new and self._memories is not None and chat is not None and turn.user_message is not None:
            await self._memories.obey(owner, chat, turn.user_message)
        if is_new and stored.status == "running":
            self._runs.start(stored, turn.events, self._answer)
        if is_new:
            self._tell(stored.id, stored.verdicts)
            tracing.note(run=stored.id, verdicts=len(stored.verdicts))
            if checked.blocked:
                count("parley_runs_total", end="blocked")
            log("run.accepted", run=stored.id, chat=stored.chat_id, model=model, status=stored.status)
        return stored, is_new

    async def _question(self, owner: str, request: TurnRequest, chat: Chat | None) -> Message | None:
        """The user message to answer, as the caller sent it; None when the caller brought the conversation."""
        if chat is None:
            return None
        if request.regenerate:
            answer = await self._store.get_message(owner, chat.id, request.regenerate)
            if answer.role != "assistant" or answer.parent_id is None:
                raise BadInput("Only an answer can be regenerated.", param="regenerate")
            question = await self._store.get_message(owner, chat.id, answer.parent_id)
            if question.status == "blocked":
                raise BadInput("This message was refused; edit it instead.", code="content_filter", param="regenerate")
            return question
        assert request.message_id and request.content is not None, "checked at the edge"
        return Message(
            id=request.message_id,
            chat_id=chat.id,
            parent_id=chat.active_leaf if request.parent_id == "leaf" else request.parent_id,
            role="user",
            content=request.content,
            created_at=self._now(),
        )

    async def _check_input(
        self, rails: Rails, owner: str, request: TurnRequest, question: Message | None
    ) -> tuple[InputResult, tuple[dict[str, Any], ...] | None]:
        """The input rails, on everything that the caller wrote. With a prompt, on each of its messages."""
        if question is not None:
            return await rails.check(question.content, of=owner), None
        verdicts: list[Verdict] = []
        prompt = []
        for message in request.prompt or ():
            said = await rails.check(message.get("content") or "", of=owner)
            rest = rails.check_rest({k: v for k, v in message.items() if k not in ("role", "content")})
            verdicts += (*said.verdicts, *rest.verdicts)
            if said.blocked or rest.blocked:
                return InputResult("", True, tuple(verdicts)), None  # nothing of it is kept
            content = {"content": said.text} if "content" in message else {}
            prompt.append({"role": message["role"], **content, **rest.value})
        return InputResult(text="", blocked=False, verdicts=tuple(verdicts)), tuple(prompt)

    async def admit(self, text: str, param: str) -> str:
        """A text that will stand in prompts without being a message (system prompt, instructions), after the input
        rails. Raises BadInput when one of them blocks it."""
        result = await self.rails.check(text)
        self._tell(None, result.verdicts)
        if result.blocked:
            raise BadInput(result.verdicts[-1].message, code="content_filter", param=param)
        return result.text

    def _tell(self, run_id: str | None, verdicts: Sequence[Verdict]) -> None:
        tell(run_id, verdicts)
        if verdicts and self._figures is not None:
            self._figures.note(verdicts)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._runs.clock() / 1000, UTC)

    # -- taking over -----------------------------------------------------------------------------------------

    async def resume(self, owner: str, run_id: str) -> bool:
        """Claim a run that nobody holds and bring it to its end, from the text that is stored.

        False when there is nothing to do here: it has ended, or another worker holds it.
        """
        if self._runs.is_live(run_id) or run_id in self._resuming:
            return False
        self._resuming.add(run_id)  # a worker may claim its own run again: two readers here must not both do so
        try:
            return await self._claim_and_start(owner, run_id)
        finally:
            self._resuming.discard(run_id)

    async def _claim_and_start(self, owner: str, run_id: str) -> bool:
        run = await self._store.claim_run(
            owner,
            run_id,
            worker=self._runs.worker,
            now_ms=self._runs.clock(),
            lease_until_ms=self._runs.lease_until_ms(),
        )
        if run is None:
            return False
        events = await self._store.read_events(owner, run_id)
        log("run.claimed", run=run.id, epoch=run.epoch, events=len(events))
        if run.epoch > 1:
            count("parley_takeovers_total")
        run_log = self._runs.start(run, events, self._answer)
        # A stop that was asked for between the claim and the start found no live run to tell; only its mark is there.
        if (await self._store.get_run(owner, run_id)).stop_requested:
            run_log.stop()
        return True

    async def _answer(self, run_log: RunLog) -> None:
        await self._answering.answer(run_log, self.rails)  # those of this moment: the policy may have been replaced


def _cache_use(request: TurnRequest, chat: Chat | None) -> CacheUse:
    """Whoever asks for another answer gets one; the next who asks may get that."""
    if request.knowledge or not request.cache or request.mode == "async" or chat is None or chat.temporary:
        return "no"
    return "keep" if request.regenerate else "use"
