"""Signing in with a company's account: OpenID Connect's authorization code flow with PKCE (RFC 7636), for servers of several people.

What a browser must bring back (state, nonce, the code's verifier) is in a cookie of ten minutes that only the way back is sent: no server
has to remember it, so the way back may end at another one. Claims are checked by Authlib, signatures by joserfc against the provider's
published keys, with the algorithms that take a public key alone.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from reconvene.config import Settings
from reconvene.errors import ReconveneError

BACK = "/sign-in/oidc/back"
COOKIE_TIME = 600
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LEEWAY = 60
"""Seconds that the provider's clock may be off."""
_ANSWER_TIME = 15.0
_METADATA_TIME = 3600.0
_MOST = 1024**2


@dataclass(frozen=True, slots=True)
class Account:
    """Who signed in at the provider. Issuer and subject never change; the name is for showing."""

    issuer: str
    subject: str
    name: str


class Oidc:
    """One provider. Nothing is fetched, and Authlib is not imported, before somebody signs in."""

    def __init__(self, issuer: str, client_id: str, secret: str | None, allow: tuple[str, ...], url: str) -> None:
        self._issuer, self._client_id, self._secret = issuer, client_id, secret
        self._allow = tuple(entry.strip().casefold() for entry in allow)
        self._back = url + BACK
        self._metadata: tuple[float, dict[str, Any]] | None = None

    @classmethod
    def of(cls, settings: Settings, url: str) -> Oidc | None:
        """None when no provider is set. `url`: of this server, as browsers reach it.

        Raises:
            ReconveneError: `invalid_field` when the settings do not fit together.
        """
        if settings.oidc_issuer is None:
            return None
        parts = urlsplit(settings.oidc_issuer)
        if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ReconveneError("invalid_field", "oidc_issuer must begin with https://.", field="oidc_issuer")
        if not settings.oidc_client_id:
            raise ReconveneError(
                "invalid_field", "oidc_issuer needs oidc_client_id, the name the provider knows this server by.",
                field="oidc_client_id",
            )  # fmt: skip
        if not settings.oidc_allow:
            raise ReconveneError(
                "invalid_field",
                "oidc_issuer needs oidc_allow: addresses, @domains, or * for everybody the provider knows.",
                field="oidc_allow",
            )
        secret = settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret is not None else None
        return cls(
            settings.oidc_issuer,
            settings.oidc_client_id,
            secret,
            settings.oidc_allow,
            url,
        )

    async def begin(self) -> tuple[str, str]:
        """Where to send the browser, and the value of the cookie for the way back."""
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        metadata = await self._provider()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._back,
            "scope": "openid email profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        endpoint = str(metadata["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}", f"{state}.{nonce}.{verifier}"

    async def finish(self, query: Mapping[str, str], cookie: str | None) -> Account:
        """Who came back.

        Raises:
            ReconveneError: `unauthorized` when what came back is not what was begun here or cannot be believed, `forbidden` when the
                account may not come in, `provider_unavailable` when the provider does not answer.
        """
        state, nonce, verifier = (*(cookie or "").split("."), "", "", "")[:3]
        if not state or not secrets.compare_digest(state.encode(), query.get("state", "").encode()):
            raise _refused("This sign-in was not begun in this browser, or took longer than ten minutes. Begin again.")
        if "error" in query:
            told = query.get("error_description") or query["error"]
            raise _refused(f"The provider did not sign you in: {told[:200]}")
        metadata = await self._provider()
        tokens = await self._post(
            str(metadata["token_endpoint"]),
            {
                "grant_type": "authorization_code",
                "code": query.get("code", ""),
                "redirect_uri": self._back,
                "client_id": self._client_id,
                "code_verifier": verifier,
            },
        )
        claims = await self._believed(tokens, metadata, nonce)
        email = claims.get("email")
        known = isinstance(email, str) and claims.get("email_verified") is True
        self._admit(email if known and isinstance(email, str) else None)
        name = next(
            (n for n in (claims.get("name"), claims.get("preferred_username"), email) if isinstance(n, str)), ""
        )
        return Account(self._issuer, str(claims["sub"]), name)

    def _admit(self, email: str | None) -> None:
        if "*" in self._allow:
            return
        address = (email or "").casefold()
        if address and any(address == e or (e.startswith("@") and address.endswith(e)) for e in self._allow):
            return
        raise ReconveneError(
            "forbidden", "This account may not come in here. Ask whoever runs the server to add it to oidc_allow."
        )

    async def _believed(self, tokens: Mapping[str, Any], metadata: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet, KeySetSerialization

        keys = await self._get(str(metadata["jwks_uri"]))
        try:
            token = jwt.decode(
                str(tokens.get("id_token", "")),
                KeySet.import_key_set(cast(KeySetSerialization, keys)),
                list(ALGORITHMS),
            )
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._client_id},
                    "nonce": {"essential": True, "value": nonce},
                },
                {"nonce": nonce, "client_id": self._client_id, "access_token": tokens.get("access_token")},
            )
            claims.validate(int(time.time()), _LEEWAY)
        except (JoseError, ValueError, KeyError, TypeError, binascii.Error) as error:
            raise _refused(
                f"What the provider said of you cannot be believed ({type(error).__name__}). Begin again."
            ) from error
        return dict(claims)

    async def _provider(self) -> dict[str, Any]:
        if self._metadata is not None and time.monotonic() - self._metadata[0] < _METADATA_TIME:
            return self._metadata[1]
        found = await self._get(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if (
            found.get("issuer") != self._issuer
            or not {"authorization_endpoint", "token_endpoint", "jwks_uri"} <= found.keys()
        ):
            raise ReconveneError(
                "provider_unavailable",
                "The provider's description does not fit oidc_issuer. Whoever runs the server can mend it.",
            )
        self._metadata = time.monotonic(), found
        return found

    async def _get(self, url: str) -> dict[str, Any]:
        return await self._ask("GET", url, None)

    async def _post(self, url: str, form: dict[str, str]) -> dict[str, Any]:
        return await self._ask("POST", url, form)

    async def _ask(self, method: str, url: str, form: dict[str, str] | None) -> dict[str, Any]:
        import httpx2

        basic = None
        if form is not None and self._secret is not None:
            quoted = urlencode({self._client_id: self._secret}).replace("=", ":", 1)  # RFC 6749, 2.3.1
            basic = {"authorization": "Basic " + base64.b64encode(quoted.encode()).decode()}
        try:
            async with asyncio.timeout(_ANSWER_TIME), httpx2.AsyncClient(follow_redirects=False) as client:
                answer = await client.request(method, url, data=form, headers=basic)
            found = json.loads(answer.content[:_MOST])
        except (httpx2.HTTPError, TimeoutError, ValueError) as error:
            raise ReconveneError(
                "provider_unavailable", "The provider of sign-ins does not answer. Try again."
            ) from error
        if answer.status_code == 400 and form is not None:
            raise _refused("The provider does not take this sign-in any more. Begin again.")
        if answer.status_code != 200 or not isinstance(found, dict):
            raise ReconveneError("provider_unavailable", f"The provider of sign-ins answers with {answer.status_code}.")
        return found


def _refused(sentence: str) -> ReconveneError:
    return ReconveneError("unauthorized", sentence)
