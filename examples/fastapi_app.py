"""Sessions in a FastAPI application, for uvicorn.

    pip install session-proxy-middleware fastapi uvicorn
    uvicorn fastapi_app:app

    curl -H "Authorization: Bearer $SESSION_KEY" \\
    http://127.0.0.1:8000/my-agent/sessions/57af5437-97a2-4646-9873-a5c5935bd705/status

From the environment: SESSION_UPSTREAM, where the session listens, and SESSION_KEY,
the key that opens it; without one, a key is made for this run and printed.
"""

import os

from fastapi import FastAPI

from session_proxy_middleware import MemoryStore, SessionProxy
from session_proxy_middleware.asgi import SessionProxyMiddleware

# One process's memory: for a single worker. Your application registers a session
# when it starts one, and calls `store.sessions.end` when that is over.
store = MemoryStore()
store.sessions.register(
    "my-agent",
    "57af5437-97a2-4646-9873-a5c5935bd705",
    os.environ.get("SESSION_UPSTREAM", "http://127.0.0.1:7860"),
)
key = store.keys.create(services=["my-agent"], secret=os.environ.get("SESSION_KEY"))
if "SESSION_KEY" not in os.environ:
    print(f"SESSION_KEY={key.secret}", flush=True)

app = FastAPI(title="Portal")
app.add_middleware(SessionProxyMiddleware, proxy=SessionProxy(store))


@app.get("/")
async def index() -> dict[str, str]:
    """A page of the application's own."""
    return {"page": "portal"}
