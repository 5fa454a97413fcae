"""The user's own prompt templates: texts that the composer begins a message with."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.chats import as_json
from functions.api.fields import Body, Id, TemplateName, TemplateText
from functions.chat.messages import Template, utc_now
from functions.errors import BadInput, NotFound
from functions.settings import TEMPLATES_MAX

router = APIRouter(tags=["templates"])
TemplateId = Annotated[Id, Path()]


class TemplateBody(Body):
    name: TemplateName
    text: TemplateText


@router.get("/templates")
async def list_templates(who: CurrentPrincipal, services: CurrentServices) -> Response:
    """All of them, the oldest first: there are few."""
    return as_json({"object": "list", "data": await services.store.list_templates(who.owner), "has_more": False})


@router.put("/templates/{template_id}")
async def put_template(
    template_id: TemplateId, body: TemplateBody, who: CurrentPrincipal, services: CurrentServices
) -> Response:
    """Keep it under this id, new or in the place of the one that is there. What is in it meets the guardrails when it
    is sent, as a message."""
    known = await services.store.list_templates(who.owner)
    is_new = all(template.id != template_id for template in known)
    if is_new and len(known) >= TEMPLATES_MAX:
        raise BadInput(f"There is room for {TEMPLATES_MAX} templates; delete one first.", code="too_many")
    template = Template(id=template_id, name=body.name.strip(), text=body.text, updated_at=utc_now())
    await services.store.put_template(who.owner, template)
    return as_json(template, 201 if is_new else 200)


@router.delete("/templates/{template_id}", status_code=204)
async def delete_template(template_id: TemplateId, who: CurrentPrincipal, services: CurrentServices) -> Response:
    if not await services.store.delete_template(who.owner, template_id):
        raise NotFound("There is no such template.")
    return Response(status_code=204)
