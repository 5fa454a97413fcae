"""The cookie that a browser is signed in with: the secret of a session, where no script can read it.

Over TLS its name begins with `__Host-`: browsers then take it from this very host only, and send it nowhere else.
`SameSite=Strict`: it comes along with what our own page asks for, and with nothing else. (What an issuer sends its user
back with is another cookie, of `sign_in`.)
"""

from fastapi import Request, Response

from functions.chat.accounts import SESSION_DAYS

PLAIN = "parley_session"
HOST_ONLY = "__Host-parley_session"


def is_tls(request: Request) -> bool:
    """As the browser sees it. Whoever lies about it only spoils their own cookie."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"


def secret_in(request: Request) -> str:
    """Of the session; empty when the browser has none."""
    return request.cookies.get(HOST_ONLY if is_tls(request) else PLAIN, "")


def keep_secret(request: Request, response: Response, secret: str) -> None:
    name, secure = (HOST_ONLY, True) if is_tls(request) else (PLAIN, False)
    lifetime_s = SESSION_DAYS * 24 * 3600
    response.set_cookie(name, secret, max_age=lifetime_s, path="/", httponly=True, samesite="strict", secure=secure)


def drop_secret(request: Request, response: Response) -> None:
    name, secure = (HOST_ONLY, True) if is_tls(request) else (PLAIN, False)
    response.delete_cookie(name, path="/", httponly=True, samesite="strict", secure=secure)
