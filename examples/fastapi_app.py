"""Sessions in a FastAPI application, for uvicorn.

    pip install "session-proxy-middleware[websocket]" fastapi uvicorn
    uvicorn fastapi_app:app

    curl -H "Authorization: Bearer $SESSION_KEY" \\
    http://127.0.0.1:8000/my-agent/sessions/57af5437-97a2-4646-9873-a5c5935bd705/status

http://127.0.0.1:8000/chat is a page that talks to the session's WebSocket, `/ws`.

From the environment: SESSION_UPSTREAM, where the session listens, and SESSION_KEY,
the key that opens it; without one, a key is made for this run and printed.
"""

import os

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

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


# A browser cannot give a WebSocket a header field: its key goes as a subprotocol, and
# the session never sees it.
CHAT = """<!doctype html>
<title>Chat</title>
<form id="opening"><input id="key" placeholder="key"> <button>Open</button></form>
<form id="saying" hidden><input id="text"> <button>Say</button></form>
<pre id="log"></pre>
<script>
  const [opening, saying, log] = ["opening", "saying", "log"].map(
    (id) => document.getElementById(id))
  const show = (line) => { log.textContent += line + "\\n" }
  const path = "/my-agent/sessions/57af5437-97a2-4646-9873-a5c5935bd705/ws"
  let socket
  opening.onsubmit = (event) => {
    event.preventDefault()
    const url = location.origin.replace("http", "ws") + path
    socket = new WebSocket(url, ["session-proxy.bearer." + opening.elements.key.value])
    socket.onopen = () => { opening.hidden = true; saying.hidden = false }
    socket.onmessage = (message) => show(message.data)
    socket.onclose = (closed) => {
      opening.hidden = false
      saying.hidden = true
      show(`closed: ${closed.code} ${closed.reason}`)
    }
  }
  saying.onsubmit = (event) => {
    event.preventDefault()
    socket.send(saying.elements.text.value)
    saying.reset()
  }
</script>
"""


@app.get("/chat")
async def chat() -> HTMLResponse:
    """A chat with the session."""
    return HTMLResponse(CHAT)
