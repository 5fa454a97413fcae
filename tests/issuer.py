"""A real issuer on loopback: discovery, keys that rotate, the authorization code flow with PKCE.

    with RunningIssuer() as issuer:   # issuer.url, issuer.person, issuer.token(…), issuer.rotate()

Whoever comes to `/authorize` is `person`, without being asked. Codes work once, for one verifier and one address.
"""

import base64
import hashlib
import json
import threading
import time
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from functions.chat.messages import new_id

CLIENT = "parley"
ADA = {"sub": "ada-1", "email": "ada@example.org", "email_verified": True, "name": "Ada"}


class SigningKey:
    def __init__(self, algorithm: str = "ES256") -> None:
        self.algorithm, self.kid = algorithm, new_id()
        is_rsa = algorithm.startswith(("RS", "PS"))
        self.private: Any = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        public = self.private.public_key()
        self.public: dict[str, Any] = (RSAAlgorithm if is_rsa else ECAlgorithm).to_jwk(public, as_dict=True)
        self.public |= {"kid": self.kid, "use": "sig"}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(claims, self.private, self.algorithm, headers={"kid": self.kid} | header)


class RunningIssuer:
    def __init__(self) -> None:
        self.key = SigningKey()
        self.published = [self.key]
        self.person: dict[str, Any] = dict(ADA)
        self.claims: dict[str, Any] = {}  # said over the right ones in ID tokens
        self.discovery: dict[str, Any] = {}  # and in the discovery document
        self.answers: dict[str, Any] = {}  # and in the address that a login goes back to
        self.is_down = False
        self.secret = ""
        self.asked: list[str] = []  # paths, in order
        self._codes: dict[str, dict[str, str]] = {}
        config = uvicorn.Config(self._app(), port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="issuer")

    def __enter__(self) -> "RunningIssuer":
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            assert self._thread.is_alive()
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    def settings(self) -> dict[str, Any]:
        return {"auth": "oidc", "oidc_issuer": self.url, "oidc_client_id": CLIENT, "oidc_client_secret": self.secret}

    def rotate(self) -> None:
        """A new key signs; the last one is published for a while yet."""
        self.key = SigningKey()
        self.published = [self.key, self.published[0]]

    def right(self, **more: Any) -> dict[str, Any]:
        now = int(time.time())
        return {"iss": self.url, "aud": CLIENT, "sub": "ada-1", "iat": now, "exp": now + 300} | more

    def token(self, **more: Any) -> str:
        return self.key.sign({k: v for k, v in self.right(**more).items() if v is not None})

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def notes(request: Request, answer: Any) -> Response:
            self.asked.append(request.url.path)
            return Response(status_code=503) if self.is_down else await answer(request)

        @app.get("/.well-known/openid-configuration")
        async def discover() -> Response:
            places = {name: f"{self.url}/{name}" for name in ("authorize", "token", "keys", "logout")}
            document = {
                "issuer": self.url,
                "authorization_endpoint": places["authorize"],
                "token_endpoint": places["token"],
                "jwks_uri": places["keys"],
                "end_session_endpoint": places["logout"],
            }
            return JSONResponse(document | self.discovery)

        @app.get("/keys")
        async def keys() -> Response:
            return JSONResponse({"keys": [key.public for key in self.published]})

        @app.get("/authorize")
        async def authorize(request: Request) -> Response:
            asked = dict(request.query_params)
            assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
            assert asked["client_id"] == CLIENT
            code = new_id()
            self._codes[code] = asked
            answer = {"code": code, "state": asked["state"]} | self.answers
            return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", 302)

        @app.post("/token")
        async def token(request: Request) -> Response:
            body = dict(parse_qsl((await request.body()).decode()))
            asked = self._codes.pop(body["code"], None)
            hashed = hashlib.sha256(body["code_verifier"].encode()).digest()
            proof = base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
            known_by = base64.b64encode(f"{CLIENT}:{quote_plus(self.secret)}".encode()).decode()
            is_client = not self.secret or request.headers.get("authorization") == f"Basic {known_by}"
            if (
                asked is None
                or proof != asked["code_challenge"]
                or not is_client
                or body["redirect_uri"] != asked["redirect_uri"]
            ):
                return JSONResponse({"error": "invalid_grant"}, 400)
            said = self.right(nonce=asked["nonce"], **self.person) | self.claims
            return JSONResponse({"id_token": self.key.sign(said), "access_token": "opaque", "token_type": "Bearer"})

        @app.get("/logout")
        async def logout() -> Response:
            return Response(json.dumps({"bye": True}))

        return app
