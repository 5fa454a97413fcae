"""How DynamoDB is called: retries, errors, transactions, and texts larger than an item.

Promises: every error that leaves here is ours. Throttling, conflicts between transactions and lost connections are
tried again, a bounded number of times, with full jitter; so every call handed to `ask` must be safe to repeat: it is
conditional, idempotent, or a transaction with a token.

Does not know what is stored.
"""

import os
import random
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import uuid4

import botocore.exceptions
from pynamodb.exceptions import DoesNotExist, PynamoDBException, TableDoesNotExist, TransactWriteError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.models import Model

from functions.adapters.dynamo_models import ChatItem, Tables
from functions.adapters.rules import unavailable
from functions.errors import NotFound, ParleyError
from functions.settings import STORED_ITEM_BYTES

T = TypeVar("T")

ATTEMPTS = 10
FIRST_WAIT_SECONDS = 0.02  # doubled each time up to the longest; the wait itself is random below that
LONGEST_WAIT_SECONDS = 0.6
BATCH = 25  # DynamoDB's limit for one batch write
TRANSIENT = frozenset({
    "InternalServerError",
    "ItemCollectionSizeLimitExceededException",
    "LimitExceededException",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingError",
    "ThrottlingException",
    "TransactionConflict",
    "TransactionConflictException",
    "TransactionInProgressException",
    "ContinuousBackupsUnavailableException",  # for some seconds after a table was made
})  # fmt: skip

Raw = dict[str, dict[str, Any]]  # an item as DynamoDB's wire has it


class Refused(Exception):
    """A condition did not hold. Internal: every caller turns it into what the port promises.

    `items` has, for each write of a transaction that was refused, by its name, the item as it was (None: absent).
    """

    def __init__(self, items: dict[str, Raw | None] | None = None) -> None:
        super().__init__()
        self.items = items or {}

    def __contains__(self, name: str) -> bool:
        return name in self.items


# -- retries and errors -----------------------------------------------------------------------------------------
def ask(call: Callable[[], T]) -> T:
    """The call's result. Raises Refused when a condition did not hold, ParleyError when nothing helps."""
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except DoesNotExist:
            raise  # an answer, not an error
        except (PynamoDBException, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as exc:
            _raise_unless_transient(exc)
            error = exc
        time.sleep(random.uniform(0, min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**attempt)))
    raise unavailable(_name(error)) from error


def _raise_unless_transient(error: Exception) -> None:
    if isinstance(error, TableDoesNotExist) or "ResourceNotFoundException" in _codes(error):
        raise no_tables() from error
    codes = _codes(error)
    if "ConditionalCheckFailedException" in codes or "ConditionalCheckFailed" in codes:
        raise Refused from error
    is_lost = not codes and isinstance(getattr(error, "cause", error), botocore.exceptions.HTTPClientError)
    if not is_lost and not (codes and codes <= TRANSIENT):
        raise unavailable(_name(error)) from error


def _codes(error: Exception) -> frozenset[str]:
    """What DynamoDB says was wrong; of a cancelled transaction, what was wrong with each part."""
    if isinstance(error, TransactWriteError) and (reasons := [r.code for r in error.cancellation_reasons if r]):
        return frozenset(reasons)
    cause = getattr(error, "cause", error)
    if not isinstance(cause, botocore.exceptions.ClientError):
        return frozenset()  # It never came to an answer.
    return frozenset({cause.response["Error"]["Code"]})


def _name(error: Exception) -> str:
    """For the log and the message: the error's code or class, never its text."""
    return next(iter(sorted(_codes(error))), type(getattr(error, "cause", None) or error).__name__)


def no_tables() -> ParleyError:
    return ParleyError(
        "The store's DynamoDB tables are not there. Run `parley tables` once with the same PARLEY_STORE_URL.",
        code="store_unavailable",
    )


# -- transactions -----------------------------------------------------------------------------------------------
class Writes:
    """One TransactWriteItems: all or nothing. Writes are named, so that a refusal can say which of them it was.

    A token makes it safe to repeat: DynamoDB remembers for ten minutes that it has been done.
    """

    def __init__(self, tables: Tables) -> None:
        self._connection = tables.connection
        self._token = str(uuid4())
        # In the order in which pynamodb sends them, which is the order of the reasons that come back.
        self._items: dict[str, list[tuple[str, dict[str, Any]]]] = {"check": [], "delete": [], "put": [], "update": []}

    def check(self, name: str, model: type[Model], pk: str, sk: str, condition: Condition) -> None:
        self._items["check"].append((name, model.get_operation_kwargs_from_class(pk, sk, condition=condition)))

    def delete(self, name: str, item: Model, condition: Condition | None = None) -> None:
        self._items["delete"].append((name, item.get_delete_kwargs_from_instance(condition=condition)))

    def put(self, name: str, item: Model, condition: Condition | None = None) -> None:
        self._items["put"].append((name, item.get_save_kwargs_from_instance(condition=condition)))

    def update(self, name: str, item: Model, actions: Sequence[Action], condition: Condition | None) -> None:
        arguments = item.get_update_kwargs_from_instance(
            list(actions), condition=condition, return_values_on_condition_failure="ALL_OLD"
        )
        self._items["update"].append((name, arguments))

    def commit(self) -> None:
        """Raises Refused, naming the writes whose conditions did not hold."""
        try:
            ask(self._send)
        except Refused as refused:
            if not isinstance(refused.__cause__, TransactWriteError):
                raise
            names = [name for items in self._items.values() for name, _ in items]
            raise Refused({
                name: reason.raw_item or None
                for name, reason in zip(names, refused.__cause__.cancellation_reasons, strict=True)
                if reason and reason.code == "ConditionalCheckFailed"
            }) from refused.__cause__  # fmt: skip

    def _send(self) -> None:
        by_kind = {f"{kind}_items": [arguments for _, arguments in items] for kind, items in self._items.items()}
        by_kind["condition_check_items"] = by_kind.pop("check_items")
        self._connection.transact_write_items(**by_kind, client_request_token=self._token)


def delete_all(model: type[Model], keys: Sequence[tuple[str, str]]) -> None:
    """Delete these (pk, sk), in batches, until nothing is left unprocessed."""
    connection = model._get_connection()
    for start in range(0, len(keys), BATCH):
        _write_batch(connection, delete_items=[{"pk": pk, "sk": sk} for pk, sk in keys[start : start + BATCH]])


def put_all(model: type[Model], items: Sequence[Model]) -> None:
    connection = model._get_connection()
    for start in range(0, len(items), BATCH):
        _write_batch(connection, put_items=[item.serialize() for item in items[start : start + BATCH]])


def _write_batch(connection: Any, **requests: Any) -> None:  # pynamodb's connection, DynamoDB's wire
    """DynamoDB hands back what it had no capacity for; that is asked again, like any throttling."""
    for attempt in range(ATTEMPTS):
        answer = ask(lambda: connection.batch_write_item(**requests))  # noqa: B023  # called at once
        left = [request for rest in answer.get("UnprocessedItems", {}).values() for request in rest]
        if not left:
            return
        requests = {
            "put_items": [request["PutRequest"]["Item"] for request in left if "PutRequest" in request],
            "delete_items": [
                {name: next(iter(value.values())) for name, value in request["DeleteRequest"]["Key"].items()}
                for request in left
                if "DeleteRequest" in request
            ],
        }
        time.sleep(random.uniform(0, min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**attempt)))
    raise unavailable("UnprocessedItems")


# -- large values -----------------------------------------------------------------------------------------------
COMPRESS_BYTES = 4 * 1024  # below that a write unit or two is all there is to save
PART_BYTES = STORED_ITEM_BYTES - 8 * 1024  # the item's other attributes fit beside it


def spread(tables: Tables, pk: str, sk: str, data: bytes) -> tuple[dict[str, Any], list[ChatItem]]:
    """The attributes that hold `data` (JSON) in the item pk, sk, and the further items it needs when it is large.

    Parts are named by a random tag and never changed, so whoever reads the item finds exactly its own.
    """
    stored = zlib.compress(data) if len(data) > COMPRESS_BYTES else data
    if len(stored) <= PART_BYTES:
        return {"data": stored}, []
    tag = os.urandom(6).hex()
    parts = [stored[start : start + PART_BYTES] for start in range(0, len(stored), PART_BYTES)]
    items = [tables.chat(pk, _part_sk(sk, tag, n), data=part) for n, part in enumerate(parts)]
    return {"parts": len(parts), "tag": tag}, items


def gather(tables: Tables, item: ChatItem) -> bytes:
    """The data of an item that `spread` wrote. Raises NotFound when its parts are being deleted."""
    stored = item.data if not item.parts else b"".join(part.data for part in parts_of(tables, item))
    # JSON never begins with an x, zlib's default header always does.
    return zlib.decompress(stored) if stored.startswith(b"x") else stored


def parts_of(tables: Tables, item: ChatItem) -> list[ChatItem]:
    """The further items that this one needs. Raises NotFound when they are being deleted."""
    if not item.parts:
        return []
    beginning = tables.chat.sk.startswith(_part_sk(item.sk, item.tag, None))
    parts = ask(lambda: list(tables.chat.query(item.pk, beginning, consistent_read=True)))
    if len(parts) != item.parts:
        raise NotFound("It has just been deleted.")
    return parts


def _part_sk(sk: str, tag: str, number: int | None) -> str:
    return f"Z#{sk}#{tag}#" + ("" if number is None else f"{number:04}")
