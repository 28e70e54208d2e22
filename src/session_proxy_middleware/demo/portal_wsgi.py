"""The portal of the demo as a Flask application, for gunicorn."""

from __future__ import annotations

from flask import Flask, Response

from ..wsgi import SessionProxyMiddleware
from . import access
from .settings import ANSWERED_BY, Settings

settings = Settings.from_environment()
access.show(settings)

portal = Flask("portal")


@portal.get("/")
def index() -> Response:
    """A page of the portal's own."""
    return Response(
        "The portal's own page.\n",
        mimetype="text/plain",
        headers={ANSWERED_BY: "portal"},
    )


app = SessionProxyMiddleware(portal, settings.proxy())
