"""The admin API of the demo, for uvicorn, on a port of its own."""

from __future__ import annotations

from ..admin.asgi import AdminAPI
from . import access
from .settings import Settings

settings = Settings.from_environment()
access.show_changes()

app = AdminAPI(settings.store, keys=settings.admin_keys())
