"""Sessions in a Django project, for uvicorn, with tokens kept in Django's cache.

    pip install session-proxy-middleware django uvicorn
    uvicorn django_asgi:application

    curl -H "Authorization: Bearer $SESSION_KEY" \\
    http://127.0.0.1:8000/my-agent/sessions/57af5437-97a2-4646-9873-a5c5935bd705/status

From the environment: SESSION_UPSTREAM, where the session listens, and SESSION_KEY,
the token that opens it; without one, a token is made for this run and printed. In a
project of yours the settings and the page are elsewhere, and the rest is `asgi.py`.
"""

import os
import secrets
from hashlib import sha256

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.cache import cache
from django.core.management.utils import get_random_secret_key
from django.http import HttpRequest, JsonResponse
from django.urls import path

from session_proxy_middleware import (
    MemoryStore,
    Principal,
    Request,
    SessionProxy,
    Unauthenticated,
)
from session_proxy_middleware.asgi import SessionProxyMiddleware

settings.configure(
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key(),
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware"],
    ROOT_URLCONF=__name__,
)


def index(request: HttpRequest) -> JsonResponse:
    """A page of the project's own."""
    return JsonResponse({"page": "portal"})


urlpatterns = [path("", index)]
application = get_asgi_application()


def place(token: str) -> str:
    """Where the cache has the holder of a token; only its hash is kept."""
    return f"session-token-{sha256(token.encode()).hexdigest()}"


async def by_token(request: Request) -> Principal:
    """Who calls, and what they may use."""
    scheme, _, presented = (request.header("authorization") or "").partition(" ")
    holder = await cache.aget(place(presented))
    if scheme.lower() != "bearer" or holder is None:
        raise Unauthenticated
    return Principal(id=holder, services=("my-agent",))


# A view of yours, behind its login, would do this, with a timeout of an hour.
token = os.environ.get("SESSION_KEY")
if not token:
    token = secrets.token_urlsafe(32)
    print(f"SESSION_KEY={token}", flush=True)
cache.set(place(token), "alice", timeout=None)

store = MemoryStore()
store.sessions.register(
    "my-agent",
    "57af5437-97a2-4646-9873-a5c5935bd705",
    os.environ.get("SESSION_UPSTREAM", "http://127.0.0.1:7860"),
)
proxy = SessionProxy(store, authenticate=by_token)
application = SessionProxyMiddleware(application, proxy)
