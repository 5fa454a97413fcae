"""Pages of other sites: which of them may ask the compatible API, and only with an API key that lists them.

A preflight comes without the key, so it is answered for every origin that any key of the house lists; the request
itself must then bring a key that lists its origin (`auth`). Cookies never count.
"""

from fastapi import APIRouter, Request, Response

from functions.api.auth import CurrentServices

ORIGIN_CHARS = 300
PREFLIGHT_SECONDS = 600

router = APIRouter(include_in_schema=False)


@router.options("/v1/{path:path}")
async def preflight(path: str, request: Request, services: CurrentServices) -> Response:
    response = Response(status_code=204, headers={"vary": "Origin"})
    origin = request.headers.get("origin", "")
    if "://" in origin and len(origin) <= ORIGIN_CHARS and await services.accounts.is_expected(origin):
        response.headers["access-control-allow-origin"] = origin
        response.headers["access-control-allow-methods"] = "GET, POST"
        response.headers["access-control-allow-headers"] = "authorization, content-type, idempotency-key"
        response.headers["access-control-max-age"] = str(PREFLIGHT_SECONDS)
    return response
