"""The people of the house, for those who run it: users, their roles, and who is invited.

That only admins come here is decided in `auth`, for every path under /admin.
"""

import re
from typing import Annotated, Any, Literal
from unicodedata import normalize

from fastapi import APIRouter, Path, Query, Response
from pydantic import AfterValidator, Field

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.chats import as_json
from functions.api.fields import Body, Id, KeyName
from functions.chat.accounts import INVITATION_DAYS
from functions.chat.principals import Invitation, Role, User
from functions.errors import BadInput, Conflict
from functions.settings import PAGE_MAX, Settings

router = APIRouter(tags=["admin"])

_ADDRESS = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,255}")
_NAME = re.compile(r"[\w.@+-]{1,64}")  # it stands in paths and in a list that commas part


def _an_address(text: str) -> str:
    text = text.strip()
    if not _ADDRESS.fullmatch(text):
        raise ValueError("must be an e-mail address")
    return text


def _a_name(text: str) -> str:
    text = normalize("NFC", text)
    if not _NAME.fullmatch(text):
        raise ValueError("must be 1 to 64 letters, digits, dots, dashes, underscores, @ or +")
    return text


Address = Annotated[str, Field(max_length=320), AfterValidator(_an_address)]
NewName = Annotated[str, Field(max_length=64), AfterValidator(_a_name)]
UserId = Annotated[str, Path(max_length=1024)]


class UserChanges(Body):
    """What is not there stays. An empty group is none."""

    role: Role | None = None
    status: Literal["active", "suspended"] | None = None
    group: Annotated[str, Field(max_length=64)] | None = None
    name: KeyName | None = None


class Ending(Body):
    confirm: Literal["delete everything"]


class NewInvitation(Body):
    """`email` where an issuer signs people in, else `name`."""

    email: Address | None = None
    name: NewName | None = None
    role: Role = "member"
    group: Annotated[str, Field(max_length=64)] | None = None
    days: Annotated[int, Field(ge=1, le=365)] = INVITATION_DAYS


def as_user(user: User) -> dict[str, Any]:
    names = ("id", "email", "name", "role", "status", "group", "created_at", "last_seen_at")
    return {name: getattr(user, name) for name in names}


def as_invitation(invitation: Invitation, secret: str | None = None) -> dict[str, Any]:
    names = ("id", "email", "name", "role", "group", "created_at", "expires_at")
    link = f"/#/join/{secret}" if secret else None
    return {name: getattr(invitation, name) for name in names} | {"link": link}


def settled_names(settings: Settings) -> set[str]:
    """Whom the settings give a token: whoever else came in under such a name would read what is theirs."""
    return {entry.partition("=")[0].strip() for entry in settings.access_tokens.split(",")}


@router.get("/admin/users")
async def list_users(
    who: CurrentPrincipal,
    services: CurrentServices,
    q: Annotated[str, Query(max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
    after: Annotated[str | None, Query(max_length=1024)] = None,
) -> Response:
    """By id. `q`: a part of a name, an address or a group. A page may be short and still have another after it: go on
    after `last_id`."""
    page = await services.accounts.list_users(limit=limit, after=after, query=q)
    users = [as_user(user) for user in page.data]
    return as_json({"object": "list", "data": users, "has_more": page.next is not None, "last_id": page.next})


@router.patch("/admin/users/{user_id}")
async def change_user(user_id: UserId, body: UserChanges, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Holds at once in this process, and within seconds in the others. A suspended user's running answers stop, also
    those that others write."""
    changes = body.model_dump(exclude_none=True)
    if "group" in changes:
        changes["group"] = changes["group"].strip() or None
    if not changes:
        raise BadInput("There is nothing to change.")
    user = await services.accounts.change_user(user_id, changes)
    if user.status == "suspended":
        await services.runs.stop_all(user.id)
    return as_json(as_user(user))


@router.delete("/admin/users/{user_id}")
async def delete_user(user_id: UserId, body: Ending, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Everything of this user, for good. The receipt says how much that was, by kind."""
    await services.accounts.get_user(user_id)
    await services.accounts.step_down(user_id)
    receipt = await services.retention.forget_owner(user_id)
    services.accounts.forgotten(user_id)
    return as_json(receipt)


@router.get("/admin/invitations")
async def list_invitations(who: CurrentPrincipal, services: CurrentServices) -> Response:
    """Those that wait, newest first. Their links are not shown again."""
    return as_json([as_invitation(invitation) for invitation in await services.accounts.list_invitations()])


@router.post("/admin/invitations", status_code=201)
async def invite(body: NewInvitation, who: CurrentPrincipal, services: CurrentServices) -> Response:
    """`link` is in this answer only, and works once."""
    by_address = services.settings.auth == "oidc"
    if by_address != (body.email is not None) or by_address == (body.name is not None):
        wanted = "email" if by_address else "name"
        raise BadInput(f"Say for whom, as `{wanted}`, and only that.", param=wanted)
    if body.name is not None and body.name in settled_names(services.settings):
        raise Conflict("There is a user of this name.", code="name_taken")
    secret, invitation = await services.accounts.invite(
        email=body.email, name=body.name, role=body.role, group=body.group, days=body.days
    )
    return as_json(as_invitation(invitation, secret), 201)


@router.delete("/admin/invitations/{invitation_id}", status_code=204)
async def revoke_invitation(
    invitation_id: Annotated[Id, Path()], who: CurrentPrincipal, services: CurrentServices
) -> Response:
    await services.accounts.revoke_invitation(invitation_id)
    return Response(status_code=204)
