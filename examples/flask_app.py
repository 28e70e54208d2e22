"""Sessions in a Flask application, for gunicorn, with tokens of its own.

    pip install session-proxy-middleware flask gunicorn
    gunicorn --worker-class gthread --threads 8 flask_app:app

    curl -H "Authorization: Bearer $SESSION_KEY" \\
    http://127.0.0.1:8000/my-agent/sessions/57af5437-97a2-4646-9873-a5c5935bd705/status

From the environment: SESSION_UPSTREAM, where the session listens, and SESSION_KEY,
the token that opens it; without one, a token is made for this run and printed.
"""

import os
import secrets
from hashlib import sha256

from flask import Flask

from session_proxy_middleware import (
    MemoryStore,
    Principal,
    Request,
    SessionProxy,
    Unauthenticated,
)
from session_proxy_middleware.wsgi import SessionProxyMiddleware

app = Flask(__name__)

token = os.environ.get("SESSION_KEY")
if not token:
    token = secrets.token_urlsafe(32)
    print(f"SESSION_KEY={token}", flush=True)

# In place of a table of yours: who holds which token. Only hashes are kept, and a
# look-up by hash does not tell by its time how much of a token was right.
holders = {sha256(token.encode()).digest(): "alice"}


def by_token(request: Request) -> Principal:
    """Who calls, and what they may use; under WSGI this may block."""
    scheme, _, presented = (request.header("authorization") or "").partition(" ")
    holder = holders.get(sha256(presented.encode()).digest())
    if scheme.lower() != "bearer" or holder is None:
        raise Unauthenticated
    return Principal(id=holder, services=("my-agent",))


# One process's memory: for a single worker. Your application registers a session
# when it starts one, and calls `store.sessions.end` when that is over.
store = MemoryStore()
store.sessions.register(
    "my-agent",
    "57af5437-97a2-4646-9873-a5c5935bd705",
    os.environ.get("SESSION_UPSTREAM", "http://127.0.0.1:7860"),
)
proxy = SessionProxy(store, authenticate=by_token)
app.wsgi_app = SessionProxyMiddleware(app.wsgi_app, proxy)  # type: ignore[method-assign]


@app.get("/")
def index() -> dict[str, str]:
    """A page of the application's own."""
    return {"page": "portal"}
