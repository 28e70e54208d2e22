"""django-revproxy in a Django project without any middleware."""

from __future__ import annotations

from typing import Any

import django
import urllib3
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,  # it collects bodies: let it
    INSTALLED_APPS=["revproxy"],
    MIDDLEWARE=[],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for benchmarks only",
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import re_path  # noqa: E402
from revproxy.views import ProxyView  # noqa: E402

from . import wire  # noqa: E402


class RoomyProxyView(ProxyView):
    """Its pool keeps one connection an upstream; this one as many as threads."""

    pools = urllib3.PoolManager(maxsize=64)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.http = self.pools


urlpatterns = [
    re_path(r"^(?P<path>.*)$", RoomyProxyView.as_view(upstream=f"{wire.origin()}/"))
]
app = get_wsgi_application()
