"""The portal of the demo as a FastAPI application, for uvicorn."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from ..asgi import SessionProxyMiddleware
from . import access
from .settings import ANSWERED_BY, Settings

settings = Settings.from_environment()
access.show(settings)

portal = FastAPI(title="Portal")


@portal.get("/")
async def index() -> PlainTextResponse:
    """A page of the portal's own."""
    return PlainTextResponse(
        "The portal's own page.\n", headers={ANSWERED_BY: "portal"}
    )


app = SessionProxyMiddleware(portal, settings.proxy())
