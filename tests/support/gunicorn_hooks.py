"""What gunicorn calls in the portal's worker."""

from __future__ import annotations

from .portal import RUNNING


def post_worker_init(_: object) -> None:
    """The application is loaded and the worker's signal handlers are set."""
    RUNNING[0].started()
