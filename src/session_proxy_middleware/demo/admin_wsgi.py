"""The admin API of the demo, for gunicorn, on a port of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..admin.wsgi import AdminAPI
from . import access
from .settings import ADMIN, ANSWERED_BY, Settings

settings = Settings.from_environment()
access.show_changes()

admin = AdminAPI(settings.store, keys=settings.admin_keys())


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """It says who it is, as everything in the demo does."""

    def start(status: str, headers: list[tuple[str, str]]) -> Any:
        return start_response(status, [*headers, (ANSWERED_BY, ADMIN)])

    return admin(environ, start)
