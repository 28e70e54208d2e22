"""Sessions in a Django project, for gunicorn.

    pip install session-proxy-middleware django gunicorn
    gunicorn --worker-class gthread --threads 8 django_wsgi:application

    curl -H "Authorization: Bearer $SESSION_KEY" \\
    http://127.0.0.1:8000/my-agent/sessions/57af5437-97a2-4646-9873-a5c5935bd705/status

From the environment: SESSION_UPSTREAM, where the session listens, and SESSION_KEY,
the key that opens it; without one, a key is made for this run and printed. In a
project of yours the settings and the page are elsewhere, and the rest is `wsgi.py`.
"""

import os

from django.conf import settings
from django.core.management.utils import get_random_secret_key
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from session_proxy_middleware import MemoryStore, SessionProxy
from session_proxy_middleware.wsgi import SessionProxyMiddleware

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
application = get_wsgi_application()

# One process's memory: for a single worker. Your project registers a session when
# it starts one, and calls `store.sessions.end` when that is over.
store = MemoryStore()
store.sessions.register(
    "my-agent",
    "57af5437-97a2-4646-9873-a5c5935bd705",
    os.environ.get("SESSION_UPSTREAM", "http://127.0.0.1:7860"),
)
key = store.keys.create(services=["my-agent"], secret=os.environ.get("SESSION_KEY"))
if "SESSION_KEY" not in os.environ:
    print(f"SESSION_KEY={key.secret}", flush=True)

application = SessionProxyMiddleware(application, SessionProxy(store))
