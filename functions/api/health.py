"""Is the process alive, can it reach its store, which models are warm. Nothing here wakes a GPU."""

from fastapi import APIRouter, Response

from functions import __version__
from functions.api.auth import CurrentPrincipal, CurrentServices
from functions.api.chats import as_json

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(services: CurrentServices) -> Response:
    try:
        await services.store.ready()
    except Exception:  # the edge: whatever the reason, this process must get no traffic
        return as_json({"status": "store not usable"}, 503)
    return as_json({"status": "ok"})


@router.get("/status")
async def status(who: CurrentPrincipal, services: CurrentServices) -> Response:
    models = services.gateway.models()
    return as_json(
        {
            "version": __version__,
            "auth": services.settings.auth,
            "models": models,
            "default_model": models[0].id if models else None,
            "policy": services.turns.rails.policy.version,
        }
    )
