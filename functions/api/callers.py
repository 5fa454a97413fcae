"""A principal, as the limits see it; and where a request comes from, for those who have not signed in."""

from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated

from fastapi import Depends, Request

from functions.api.auth import Principal, services_of
from functions.chat.messages import utc_now
from functions.chat.quotas import Asker
from functions.errors import Limited
from functions.services import Services
from functions.settings import STRANGERS_PER_MINUTE

ADDRESSES = 10_000  # that are remembered; then the one that has been quiet longest is forgotten
HOPS = 32  # of X-Forwarded-For that are looked at


def asker_of(who: Principal) -> Asker:
    return Asker(who.owner, group=who.group, key_id=who.key_id, key_runs_per_minute=who.key_runs_per_minute)


async def headers_of(services: Services, who: Principal) -> dict[str, str]:
    """What is left of the rate and of the day's tokens, in OpenAI's words; nothing where neither is limited."""
    quotas, asker = services.quotas, asker_of(who)
    if not await quotas.is_any(asker):
        return {}
    headers: dict[str, str] = {}
    if (rate := await quotas.rate_of(asker)) is not None:
        headers |= _headers("requests", rate.limit, rate.remaining, rate.reset_ms / 1000)
    if (tokens := (await quotas.standing(asker)).get("tokens_per_day")) is not None and tokens.resets_at:
        left_s = (tokens.resets_at - utc_now()).total_seconds()
        headers |= _headers("tokens", int(tokens.limit), int(tokens.remaining), left_s)
    return headers


def _headers(what: str, limit: int, remaining: int, reset_s: float) -> dict[str, str]:
    reset = f"{max(0.0, reset_s):.3f}s"
    known = {"limit": str(limit), "remaining": str(remaining), "reset": reset}
    return {f"x-ratelimit-{name}-{what}": value for name, value in known.items()}


class Strangers:
    """How often each address may ask without signing in: GCRA, in this process, in bounded memory."""

    def __init__(self, per_minute: int = STRANGERS_PER_MINUTE) -> None:
        self._interval_ms, self._burst = 60_000 / per_minute, per_minute
        self._arrivals: OrderedDict[str, float] = OrderedDict()

    def admit(self, address: str, now_ms: int) -> None:
        """Raises Limited."""
        arrival = max(self._arrivals.get(address, 0.0), float(now_ms))
        wait_ms = arrival - (self._burst - 1) * self._interval_ms - now_ms
        if wait_ms > 0:
            seconds = wait_ms / 1000
            raise Limited(f"Too many attempts; try again in {max(1, round(seconds))} s.", retry_after_s=seconds)
        self._arrivals[address] = arrival + self._interval_ms
        self._arrivals.move_to_end(address)
        if len(self._arrivals) > ADDRESSES:
            self._arrivals.popitem(last=False)


def address_of(request: Request, trusted_proxies: str) -> str:
    """Who sent it: the connection's other end, or, where that is a trusted proxy, the nearest hop before it that is
    none. IPv6 by /64, which is one household; IPv4 in IPv6's clothes is IPv4."""
    networks = [ip_network(text.strip(), strict=False) for text in trusted_proxies.split(",") if text.strip()]
    here = _parsed(request.client.host if request.client else "")
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    for hop in reversed(hops[-HOPS:]):
        if here is None or not any(here in network for network in networks):
            break
        before = _parsed(hop)
        if before is None:
            break
        here = before
    if here is None:
        return ""
    return str(IPv6Network((here, 64), strict=False)) if isinstance(here, IPv6Address) else str(here)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip().removeprefix("[").partition("]")[0].partition("%")[0]
    if text.count(":") == 1:  # IPv4 with a port
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


async def _admit_stranger(request: Request) -> None:
    services = services_of(request)
    strangers: Strangers = request.app.state.strangers
    strangers.admit(address_of(request, services.settings.trusted_proxies), services.runs.clock())


# Of every route that is open to those who have not signed in: `dependencies=[StrangersLimited]`.
StrangersLimited = Depends(_admit_stranger)
AsStranger = Annotated[None, StrangersLimited]
