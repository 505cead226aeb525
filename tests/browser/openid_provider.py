"""A tiny OpenID provider for tests: it knows one person, asks for no password and signs what it says (RS256)."""

import json
import secrets
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Provider", "providing"]


@dataclass
class Provider:
    """A running provider. ``person`` are the claims about whoever comes; ``asked`` the paths that were asked for."""

    url: str
    client_id: str
    client_secret: str
    person: dict[str, str]
    asked: list[str] = field(default_factory=list)
    nonces: dict[str, str] = field(default_factory=dict)

    @property
    def metadata_url(self) -> str:
        """Where the discovery document is."""
        return f"{self.url}/.well-known/openid-configuration"

    def metadata(self) -> dict[str, Any]:
        """The discovery document (OpenID Connect Discovery 1.0, section 3)."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def claims(self, code: str) -> dict[str, Any]:
        """What the id token says to whoever has this code, which works once."""
        now = int(time.time())
        times = {"iat": now, "exp": now + 600}
        return {"iss": self.url, "aud": self.client_id, "nonce": self.nonces.pop(code), **times, **self.person}


@contextmanager
def providing(person: dict[str, str]) -> Iterator[Provider]:
    """Run a provider on a free port of this machine."""
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    key = RSAKey.generate_key(2048, {"kid": "test", "use": "sig", "alg": "RS256"})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = urllib.parse.urlparse(self.path)
            query = dict(urllib.parse.parse_qsl(place.query))
            provider.asked.append(place.path)
            if place.path == "/.well-known/openid-configuration":
                self._json(provider.metadata())
            elif place.path == "/jwks":
                self._json({"keys": [key.as_dict(private=False)]})
            elif place.path == "/authorize" and query.get("client_id") == provider.client_id:
                code = secrets.token_hex(8)
                provider.nonces[code] = query["nonce"]
                answer = urllib.parse.urlencode({"code": code, "state": query["state"]})
                self.send_response(302)
                self.send_header("Location", f"{query['redirect_uri']}?{answer}")
                self.end_headers()
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            provider.asked.append(self.path)
            size = int(self.headers["Content-Length"])
            body = dict(urllib.parse.parse_qsl(self.rfile.read(size).decode()))
            if self.path != "/token" or body.get("code") not in provider.nonces:
                self.send_error(400)
                return
            token = jwt.encode({"alg": "RS256", "kid": "test"}, provider.claims(body["code"]), key)
            self._json({"access_token": "unused", "token_type": "Bearer", "expires_in": 600, "id_token": token})

        def _json(self, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider = Provider(f"http://127.0.0.1:{server.server_port}", "espalier", secrets.token_hex(16), person)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join(10)
