"""How long the gateway waits, and how often it tries. The defaults are the contract; tests shorten them."""

from functions.chat.messages import Struct
from functions.settings import NODE_HEARTBEAT_SECONDS, NODE_QUEUE


class Limits(Struct, frozen=True, kw_only=True):
    connect_s: float = 5.0
    first_token_s: float = 120.0  # of a node that is awake: a long prompt's prefill
    between_tokens_s: float = 60.0
    wake_s: float = 15 * 60.0  # a start that takes longer has failed; nobody waits longer for anything
    embed_wake_s: float = 60.0  # who embeds has an answer to write afterwards
    knock_s: float = 0.5  # between two questions to a node that starts
    awake_s: float = 1.0  # a sleeping node that answers sooner was not asleep
    hedge_s: float = 30.0  # a start without history that takes longer makes us knock at a second node
    overflow_s: float = 5.0  # who has queued for so long makes us knock at a sleeping node
    notice_s: float = 2.0  # a waiting reader hears from us at most this often,
    still_s: float = 10.0  # and this often at least
    backoff_s: float = 2.0
    first_backoff_s: float = 0.1
    retries: int = 3
    node_queue: int = NODE_QUEUE
    refresh_s: float = NODE_HEARTBEAT_SECONDS / 2  # between two looks at what other processes know
