"""The one reader of the environment: frozen, validated once, passed down.

Adding a setting means a field here with its default and a line in docs/architecture.md (a test compares them).
The limits below the class are constants, not settings: they are part of the contract (docs/architecture.md).
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

# -- limits: name, value, and the reason where it is not plain ----------------------------------------------------
MESSAGE_BYTES = 64 * 1024  # UTF-8
SYSTEM_PROMPT_BYTES = 16 * 1024
BODY_BYTES = 1024 * 1024
HEAD_BYTES = 64 * 1024  # of a request: its address and headers
HEAD_SECONDS = 30.0  # to send them
PIPELINED_MAX = 32  # requests of one connection that wait for the answer to one before them
PAGE_MAX = 100
FIRST_EVENT_SECONDS = 1.0
PING_SECONDS = 10.0  # below every proxy's idle cut we know of (API Gateway edge: 30 s)
BEAT_SECONDS = 1 / 30  # deltas leave in beats: fewer frames, no visible difference
CROWD_RUNS = 32  # so many runs in one process,
CROWDED_BEAT_SECONDS = 1 / 20  # and this is its beat
CHECKPOINT_SECONDS = 0.250
CHECKPOINT_TOKENS = 64
LEASE_SECONDS = 15.0
READER_POLL_SECONDS = 0.5
NODE_QUEUE = 64  # requests that wait for a place at a node, beyond those it works on
WAITING_RUNS = 1000  # of one process, while every node's queue is full
NODE_HEARTBEAT_SECONDS = 10.0
NODE_EXPIRES_SECONDS = 35.0  # three heartbeats may be lost
RUN_SECONDS = 15 * 60.0
TEMPORARY_CHAT_SECONDS = 24 * 3600.0  # after its last message
RUN_LOG_SECONDS = 7 * 24 * 3600.0  # the answer itself is a message, and stays
MEMORIES_MAX = 200  # of one user
MEMORY_CHARS = 400
TEMPLATES_MAX = 50  # of one user
TEMPLATE_BYTES = 16 * 1024
IMPORT_BYTES = 100 * 1024 * 1024  # a file of chats from elsewhere, as it is uploaded
IMPORT_UNPACKED_BYTES = 500 * 1024 * 1024  # what is unpacked of it
IMPORT_CHAT_BYTES = 32 * 1024 * 1024  # the texts of one chat in it
IMPORT_MESSAGE_BYTES = 256 * 1024  # of one message; the rest is cut, and the message says so
IMPORT_SECONDS = 300  # of a processor, to read it
UPLOADS_PER_MINUTE = 120  # documents of one user
IMPORTS_PER_MINUTE = 6  # files of chats of one user
STRANGERS_PER_MINUTE = 30  # requests of one address that has not signed in, to each of the routes for that
LOOK_SECONDS = 5.0  # how long a process may not know of a pause, or of changed limits
KNOWLEDGE_FILE_BYTES = 25 * 1024 * 1024
COLLECTIONS_MAX = 50  # of one user's own
MEMBERS_MAX = 100  # of one collection
DOCUMENTS_MAX = 500  # of one user's own, all collections together
DOCUMENT_PAGES = 2_000
DOCUMENT_CHARS = 8_000_000
DOCUMENT_CHUNKS = 4_000
KNOWLEDGE_CHUNKS = 50_000  # of one user's own documents together: what a search may have to look through
READING_SECONDS = 60.0  # for one file, and then its process is ended
READING_MEMORY_BYTES = 1024 * 1024 * 1024
PASSAGES = 6  # that a question is shown at most
HOLD_BACK_CHARS = 160
STORED_ITEM_BYTES = 300 * 1024


def _with_a_port_that_can_be(url: str) -> str:
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError("must be the http(s) address of a model server, e.g. http://10.0.0.7:8000/v1") from None
    return url


def _a_cache(url: str) -> str:
    parts = urlsplit(url)
    try:
        is_whole = bool(parts.path if parts.scheme == "unix" else parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if parts.scheme not in ("valkey", "valkeys", "redis", "rediss", "unix") or not is_whole:
        raise ValueError("must be the address of a Valkey or Redis server, e.g. valkeys://:PASSWORD@10.0.0.9:6379/0")
    return url


def _for_a_header(text: str) -> str:
    text = text.strip()  # of the line end of the file that it came from
    if not (text.isascii() and text.isprintable()):
        raise ValueError("must be printable ASCII: it is sent in a header")
    return text


HeaderText = Annotated[str, AfterValidator(_for_a_header)]


class NodeSetting(BaseModel):
    """One model server, as an operator names it in `PARLEY_NODES`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    # of its OpenAI wire, …/v1
    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+"), AfterValidator(_with_a_port_that_can_be)]
    name: str = ""
    models: tuple[str, ...] = ()  # empty: whatever it says it serves
    task: Literal["chat", "embed", "moderate"] = "chat"  # what its models do
    context_tokens: Annotated[int, Field(ge=0)] = 0  # 0: it says so itself, once it is awake
    api_key: HeaderText | None = Field(default=None, repr=False)
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    gpu: str = ""  # a name of the price table (inference/pricing.py)
    usd_per_hour: Annotated[float, Field(ge=0)] | None = None  # None: what the table says of `gpu`
    serverless: bool | None = None  # None: by its host name
    # a serverless one's scale-down window; the bill looks back no further
    idle_seconds: Annotated[float, Field(gt=0, le=3600)] = 300.0
    slots: Annotated[int, Field(ge=0)] = 0  # requests it works on at once; 0: the gateway's default


class Settings(BaseSettings):
    """Where things are and what is on. Every field is also `PARLEY_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="PARLEY_",
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        hide_input_in_errors=True,  # it may be a key
    )

    # Where state lives: sqlite:///path/to/file.db, or dynamodb://TABLE_PREFIX?region=…&endpoint=…
    store_url: str = "sqlite:///parley.db"
    # a cache that several processes share: valkey://, valkeys:// (TLS), redis://, rediss:// or unix://; never relied on
    valkey_url: Annotated[str, AfterValidator(_a_cache)] | None = Field(default=None, repr=False)
    data: Path = Path.home() / ".local" / "share" / "parley"
    web: Path | None = None  # the built web client; None: web/dist beside the package

    # The model: an OpenAI-wire base URL (…/v1), else a GGUF path, else the embedded default
    model_url: str | None = None
    model_api_key: HeaderText | None = Field(default=None, repr=False)
    model_headers: dict[str, str] = Field(default_factory=dict, repr=False)  # e.g. Modal-Key and Modal-Secret
    nodes: tuple[NodeSetting, ...] = ()  # more of them, as JSON
    node_key: HeaderText = Field(default="", repr=False)  # who knows it may register a node, and is called with it
    fallbacks: dict[str, str] = Field(default_factory=dict)  # model → the one that answers when it cannot
    # what typing may spend on waking GPUs; 0: it wakes none
    prewarm_usd_per_day: Annotated[float, Field(ge=0, le=1_000_000)] = 1.0
    model: str | None = None
    embed_model: str | None = None  # a GGUF that turns text into vectors, run beside the other one
    model_hub: str = "https://huggingface.co"  # where the small model comes from; a mirror works as well
    system_prompt: str = "You are Parley, a helpful assistant. Answer in the language of the question."

    # What models write for Parley itself; none of it with a demo model
    summaries: bool = True  # a long chat's older part is folded into notes; else it is left out
    titles: bool = True  # a chat's first turn gives it its title; else the question's beginning is it
    memory: bool = True  # what users say of themselves is remembered; each can switch it off for themselves
    night_minutes: Annotated[float, Field(ge=0, le=600)] = 10.0  # what the nightly job may keep GPUs busy; 0: no job

    # Whether a question that was answered before may be answered by that: the same user's, or anybody's in the house
    semantic_cache: Literal["off", "user", "tenant"] = "off"
    semantic_cache_days: Annotated[float, Field(gt=0, le=365)] = 7.0  # how long an answer may be given again
    # the least cosine of two questions, in the space of the embedding model; `python -m tests.cache.measure` shows how
    # often which one errs
    semantic_cache_score: Annotated[float, Field(gt=0, le=1)] = 0.92

    # Who may come in: "local" is one user on loopback; "token" whom the house knows; "oidc" whom an issuer knows
    auth: Literal["local", "token", "oidc"] = "local"
    admins: str = ""  # names, or e-mail addresses of an issuer, comma-separated: admins from the start
    # name=sha256 of the token in hex, comma-separated
    access_tokens: str = Field(default="", repr=False)
    # with "oidc", who says who people are: its address, exactly as its tokens name it, and who we are there
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = Field(default="", repr=False)
    oidc_audience: str = ""  # of the access tokens that programs come with; empty: the client id
    oidc_scopes: str = "openid email profile"
    oidc_discovery_url: str = ""  # of its discovery document, where that is not under its own address
    # as browsers see this Parley, e.g. https://chat.example.org; empty: as the request names it
    public_url: Annotated[str, Field(pattern=r"^(https?://[^\s/]+)?$")] = ""
    secret_key: str = Field(
        default="", repr=False
    )  # signs page cursors, keys the hashes in verdicts; empty: new at each start

    policy: Path | None = None  # guardrail policy; None: functions/guardrails/default.toml
    # Of each principal, where an admin has set nothing else; 0: no limit
    runs_per_minute: Annotated[int, Field(ge=0, le=60_000)] = 0
    runs_at_once: Annotated[int, Field(ge=0)] = 0
    tokens_per_day: Annotated[int, Field(ge=0)] = 0
    gpu_seconds_per_day: Annotated[float, Field(ge=0)] = 0.0
    usd_per_day: Annotated[float, Field(ge=0)] = 0.0
    usd_per_month: Annotated[float, Field(ge=0)] = 0.0
    # addresses or networks whose X-Forwarded-For is believed, comma-separated: the proxies before this Parley
    trusted_proxies: str = ""
    # What this process counts: held for GET /metrics, or written into the log for CloudWatch
    metrics: Literal["off", "prometheus", "emf"] = "prometheus"
    metrics_namespace: str = "Parley"  # of CloudWatch: two stacks in one account have two
    metrics_key: HeaderText = Field(default="", repr=False)  # who knows it may read GET /metrics, besides admins
    # where an OpenTelemetry collector takes traces (OTLP over HTTP: …/v1/traces), and its headers; None: nobody does
    traces_url: str | None = None
    traces_headers: dict[str, str] = Field(default_factory=dict, repr=False)

    share_links: bool = True  # users may give out links to chats of theirs
    chats_days: Annotated[int, Field(ge=0, le=36_500)] = 0  # chats untouched for so long are deleted; 0: kept
    lease_seconds: float = LEASE_SECONDS  # how long a silent worker keeps its runs
    checkpoint_ms: int | None = None  # None: the store's own (a beat on SQLite, CHECKPOINT_SECONDS on DynamoDB)


class ClientSettings(BaseSettings):
    """What a command needs that speaks to a running Parley (`PARLEY_URL`, `PARLEY_TOKEN`), or measures a guard model
    (`PARLEY_GUARD_KEY`)."""

    model_config = SettingsConfigDict(env_prefix="PARLEY_", frozen=True, extra="ignore")

    url: str = "http://127.0.0.1:8000"
    token: str = Field(default="", repr=False)  # an access token; local mode asks for none
    guard_key: str = Field(default="", repr=False)  # the bearer key of `parley eval --guard`


class LambdaSettings(BaseSettings):
    """What only the Lambda functions of infra/template.yaml need to know: where they are."""

    model_config = SettingsConfigDict(env_prefix="PARLEY_", frozen=True, extra="ignore")

    # names of parameters in Parameter Store: JSON objects of further settings, the second one encrypted; a policy
    settings_parameter: str = ""
    secret_parameter: str = ""
    policy_parameter: str = ""
    runs_queue_url: str = ""  # of the queue that keeps the order of each chat
    later_queue_url: str = ""  # of the one that can wait


def has_display() -> bool:
    """Whether a browser could open a window here."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
