"""How fast and how much one owner may ask, and the whole house: rates, runs at once, and budgets of tokens, GPU time
and money (reserve, then settle; decision 0014).

    reserve()   rates → a hold on the owner's meters → a hold on the house's
    settle()    what was used takes the reservation's place, once, whoever ends the run

Counts in the store, so that every process counts together. The rates fail open, the budgets fail closed. Where nothing
is limited nothing is asked. Knows no models and no HTTP.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from functions.chat.allowances import (
    BUDGETS,
    COUNTED,
    HOUSE,
    UNITS,
    Amounts,
    Hold,
    Limits,
    claims_of,
    kind_of,
    meter_of,
)
from functions.chat.house import House
from functions.chat.messages import TERMINAL, Cost, Run, Struct, Usage
from functions.errors import Limited, NotFound, OverBudget, StoreUnavailable
from functions.ports import ChatStore, Counter, LimitStore
from functions.settings import RUN_SECONDS
from functions.telemetry import count, log_fault

RESERVED_TOKENS = 1024  # for an answer whose length the caller left open
TOKENS_PER_SECOND = 30.0  # of a model that nothing is known of yet
VANISHED_MS = 30_000  # a hold this old whose run is not there has lost it
AGAIN_SECONDS = 5.0  # until one of too many runs may have ended

_NAMES = {
    "tokens_per_day": "tokens for today are",
    "gpu_seconds_per_day": "GPU time for today is",
    "usd_per_day": "money for today is",
    "usd_per_month": "money for this month is",
}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: `key_id` when with an API key, which may have a rate of its own."""

    owner: str
    group: str | None = None
    key_id: str | None = None
    key_runs_per_minute: int = 0


class Rate(Struct, frozen=True, kw_only=True):
    limit: int
    remaining: int
    reset_ms: int  # until all of it is there again


class Standing(Struct, frozen=True, kw_only=True):
    """Where one budget is, in its own unit; `source` is who set it: user, group, house or default."""

    limit: float
    used: float
    reserved: float
    remaining: float
    resets_at: datetime | None
    source: str


@dataclass(frozen=True, slots=True)
class Quotas:
    """`defaults` are the settings' (0 is no limit)."""

    counter: Counter
    meters: LimitStore
    runs: ChatStore
    house: House
    clock: Callable[[], int]  # Unix milliseconds
    defaults: Limits
    group_of: Callable[[str], Awaitable[str | None]] | None = None  # of an owner, where the caller did not say
    _gpu_ms_per_token: dict[str, float] = field(default_factory=dict)  # of each model, as seen of late

    # -- before --------------------------------------------------------------------------------------------------
    async def is_any(self, who: Asker) -> bool:
        """Whether anything is limited for this caller, or paused."""
        rules = await self.house.rules()
        if rules.paused_at is not None or who.key_runs_per_minute or not rules.limits.is_none:
            return True
        return not (await self.limits_of(who)).is_none

    async def reserve(
        self, who: Asker, name: str, wanted: Amounts, *, is_run: bool = True, admitted: bool = False
    ) -> tuple[str, ...]:
        """Rates first, then room for `wanted`, under `name`: the accounts that hold it, to be settled when the work
        has ended. `admitted`: the rates are not asked. Raises Paused, Limited, OverBudget; then nothing is held."""
        await self.house.refuse_when_paused()
        limits, rules = await self.limits_of(who), await self.house.rules()
        if not admitted:
            await self._pass_rates(who, limits, rules.limits)
        now_ms = self.clock()
        held: list[str] = []
        for account, of_account in ((who.owner, limits), (HOUSE, rules.limits)):
            claims = claims_of(of_account, wanted, self._now(), is_run=is_run)
            if not claims:
                continue
            hold = Hold(
                id=name,
                owner=who.owner,
                at_ms=now_ms,
                claims=claims,
                is_run=is_run,
                until_ms=now_ms + int(1000 * RUN_SECONDS),
            )
            try:
                full = await self._hold(account, hold)
            except BaseException:  # also a caller that left: what is held by now comes back
                await self.settle(held, name, Amounts())
                raise
            if full is not None:
                await self.settle(held, name, Amounts())
                raise self._refusal(full, account, of_account)
            held.append(account)
        return tuple(held)

    def estimate(self, model: str, tokens: int | None, prompt_chars: int, *, usd_per_hour: float) -> Amounts:
        """What an answer will need: of its length, of the model's recent speed and of what its GPU costs."""
        answer = tokens or RESERVED_TOKENS
        gpu_ms = 0.0
        if usd_per_hour:
            gpu_ms = answer * self._gpu_ms_per_token.get(model, 1000 / TOKENS_PER_SECOND)
        usd = gpu_ms / 3_600_000 * usd_per_hour
        return Amounts(tokens=answer + prompt_chars // 4, gpu_ms=round(gpu_ms), micro_usd=round(usd * 1_000_000))

    async def may_begin(self, owner: str) -> bool:
        """Whether background work of this owner may begin: nothing is paused and no budget is used up. It is counted
        by `charge`."""
        rules = await self.house.rules()
        if rules.paused_at is not None:
            return False
        for account, limits in ((owner, await self.limits_of(Asker(owner))), (HOUSE, rules.limits)):
            standing = await self._read(account, limits)
            if any(there.remaining <= 0 for name, there in standing.items() if name in BUDGETS):
                return False
        return True

    # -- after ---------------------------------------------------------------------------------------------------
    async def settle(self, held: "tuple[str, ...] | list[str]", name: str, used: Amounts, *, ends: bool = True) -> None:
        """What was used, in the place of what was reserved; on the day of the reservation, and once."""
        for account in held:
            await self.meters.settle(account, name, used, ends=ends)

    async def settle_run(self, run: Run, usage: Usage, cost: Cost, *, ends: bool = True) -> None:
        """A run's bill. `ends`: it is over; if not, a worker has left it to the next one."""
        if cost.gpu_seconds and usage.completion_tokens:
            seen, last = 1000 * cost.gpu_seconds / usage.completion_tokens, self._gpu_ms_per_token.get(run.model)
            self._gpu_ms_per_token[run.model] = seen if last is None else 0.8 * last + 0.2 * seen
        await self.settle(run.held, run.id, amounts_of(usage, cost), ends=ends)

    async def charge(self, owner: str, used: Amounts) -> None:
        """What work has used that reserved nothing: titles, summaries, memories, vectors."""
        rules = await self.house.rules()
        for account, limits in ((owner, await self.limits_of(Asker(owner))), (HOUSE, rules.limits)):
            claims = claims_of(limits, used, self._now(), is_run=False)
            used_claims = [claim for claim in claims if used.of(claim.meter)]
            if used_claims:
                await self.meters.charge(account, used_claims)

    # -- what is left --------------------------------------------------------------------------------------------
    async def limits_of(self, who: Asker) -> Limits:
        """The user's own over the group's over the settings'."""
        rules = await self.house.rules()
        if not (rules.groups or rules.has_users):
            return self.defaults
        return (await self._sources(who))[0]

    async def rate_of(self, who: Asker) -> Rate | None:
        """What is left of the rate that the caller is nearest to, or None where there is none."""
        rules = await self.house.rules()
        rates = [(who.owner, "runs", (await self.limits_of(who)).runs_per_minute)]
        rates.append((who.owner, f"key:{who.key_id}", who.key_runs_per_minute))
        rates.append((HOUSE, "runs", rules.limits.runs_per_minute))
        found = [await self._rate(account, key, limit) for account, key, limit in rates if limit]
        return min(found, key=lambda rate: rate.remaining, default=None)

    async def standing(self, who: Asker) -> dict[str, Standing]:
        """Every limit that counts for this caller, by its name; the house's where the caller has none."""
        limits, sources = await self._sources(who)
        house = (await self.house.rules()).limits
        own = await self._read(who.owner, limits, sources)
        others = Limits(**{name: getattr(house, name) for name in COUNTED if name not in own})
        return await self._read(HOUSE, others, dict.fromkeys(COUNTED, "house")) | own

    async def used(self, account: str, limits: Limits) -> dict[str, Standing]:
        """Of one account, what is counted of these limits."""
        return await self._read(account, limits)

    async def _sources(self, who: Asker) -> tuple[Limits, dict[str, str]]:
        rules = await self.house.rules()
        own, group = await self.house.own(who.owner), who.group
        if rules.groups and group is None and self.group_of is not None:
            group = await self.group_of(who.owner)
        of_group = rules.groups.get(group or "", Limits())
        sources = {
            name: "user"
            if getattr(own, name) is not None
            else "group"
            if getattr(of_group, name) is not None
            else "default"
            for name in COUNTED
        }
        return own.over(of_group.over(self.defaults)), sources

    async def _read(self, account: str, limits: Limits, sources: dict[str, str] | None = None) -> dict[str, Standing]:
        asked = {name: meter_of(name, self._now()) for name in COUNTED if getattr(limits, name)}
        if not asked:
            return {}
        readings = await self.meters.read_meters(account, [meter for meter, _ in asked.values()])
        found = {}
        for name, (meter, over) in asked.items():
            unit, reading, limit = UNITS[kind_of(meter)], readings[meter], getattr(limits, name)
            found[name] = Standing(
                limit=limit,
                used=(reading.total - reading.reserved) / unit,
                reserved=reading.reserved / unit,
                remaining=max(0.0, limit - reading.total / unit),
                resets_at=over,
                source=(sources or {}).get(name, "house" if account == HOUSE else "user"),
            )
        return found

    # -- rates ---------------------------------------------------------------------------------------------------
    async def _pass_rates(self, who: Asker, limits: Limits, house: Limits) -> None:
        if who.key_runs_per_minute:
            await self.admit(who.owner, f"key:{who.key_id}", per_minute=who.key_runs_per_minute)
        if limits.runs_per_minute:
            await self.admit(who.owner, "runs", per_minute=limits.runs_per_minute)
        if house.runs_per_minute:
            await self.admit(HOUSE, "runs", per_minute=house.runs_per_minute)

    async def admit(self, account: str, key: str, *, per_minute: int, what: str = "messages") -> None:
        """One more of what is counted under `key`. Raises Limited. A store that cannot say lets it pass."""
        try:
            wait_ms = await self.counter.admit(
                account, key, interval_ms=max(1, 60_000 // per_minute), burst=per_minute, now_ms=self.clock()
            )
        except StoreUnavailable:
            count("parley_limiter_faults_total")
            log_fault("rate.open", key=key.partition(":")[0])
            return
        if wait_ms:
            seconds = wait_ms / 1000
            raise Limited(f"Too many {what}; try again in {max(1, round(seconds))} s.", retry_after_s=seconds)

    async def _rate(self, account: str, key: str, limit: int) -> Rate:
        interval_ms = max(1, 60_000 // limit)
        ahead_ms = max(0, await self.counter.look(account, key) - self.clock())
        return Rate(limit=limit, remaining=max(0, limit - -(-ahead_ms // interval_ms)), reset_ms=ahead_ms)

    # -- holds ---------------------------------------------------------------------------------------------------
    async def _hold(self, account: str, hold: Hold) -> str | None:
        """The meter that is full, if one is, also after holds have come back that nobody needs any more."""
        got = await self.meters.hold(account, hold)
        if isinstance(got, str) and await self._take_back(account):
            got = await self.meters.hold(account, hold)
        return got if isinstance(got, str) else None

    async def _take_back(self, account: str) -> int:
        """End the holds whose run is over, or never came to be: their worker died on the way."""
        ended = 0
        for hold in await self.meters.list_holds(account, before_ms=self.clock() + 1):
            used = await self._ended(hold)
            if used is not None:
                ended += await self.meters.settle(account, hold.id, used)
        return ended

    async def _ended(self, hold: Hold) -> Amounts | None:
        """What its work has used, or None while somebody may be at it."""
        if not hold.is_run:
            return Amounts() if hold.until_ms <= self.clock() else None
        try:
            run = await self.runs.get_run(hold.owner, hold.id)
        except NotFound:  # it may be about to be stored
            return Amounts() if hold.at_ms <= self.clock() - VANISHED_MS else None
        return amounts_of(run.usage, run.cost) if run.status in TERMINAL else None

    def _refusal(self, meter: str, account: str, limits: Limits) -> Limited:
        now = self._now()
        name = next(n for n in COUNTED if getattr(limits, n) and meter_of(n, now)[0] == meter)
        if name == "runs_at_once":
            whose = "This Parley is" if account == HOUSE else "You are"
            message = f"{whose} answering as many messages at once as allowed; wait for one of them to end."
            return Limited(message, retry_after_s=AGAIN_SECONDS, code="too_many_runs")
        over = meter_of(name, now)[1]
        assert over is not None, "budgets renew"
        whose = "This Parley's" if account == HOUSE else "Your"
        when = "at midnight UTC" if name != "usd_per_month" else f"on {over:%F} at midnight UTC"
        renews = f"{whose} {_NAMES[name]} used up; it renews {when}."
        return OverBudget(renews, retry_after_s=(over - now).total_seconds(), param=name)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock() / 1000, UTC)


def amounts_of(usage: Usage, cost: Cost) -> Amounts:
    return Amounts(
        tokens=usage.prompt_tokens + usage.completion_tokens,
        gpu_ms=round(1000 * cost.gpu_seconds),
        micro_usd=round(1_000_000 * cost.cost_usd),
    )
