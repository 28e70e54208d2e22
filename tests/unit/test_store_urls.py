"""What of a store's URL may be shown, and whether a password is in it."""

from __future__ import annotations

import pytest

from session_proxy_middleware.stores.naming import has_password, shown


@pytest.mark.parametrize(
    ("url", "seen", "secret"),
    [
        ("memory://", "memory://", False),
        ("sqlite:////var/a:b@c.db?x", "sqlite:////var/a:b@c.db?x", False),
        ("redis://host:6379/0", "redis://host:6379/0", False),
        ("redis://host:6379/0?db=1", "redis://host:6379/0", False),
        ("redis://user@host/0", "redis://host/0", False),
        ("redis://user:hunter2@host/0", "redis://host/0", True),
        ("rediss://:hunter2@[::1]:6380/0?db=1", "rediss://[::1]:6380/0", True),
        ("unix://u:hunter2@/run/r.sock?db=1", "unix:///run/r.sock", True),
        ("redis://host?password=hunter2", "redis://host", True),
        ("redis://host?password=", "redis://host", True),
        ("rediss://host?ssl_password=hunter2", "rediss://host", True),
        ("redis://u:hunt/er2@host", "redis://…", True),
        ("redis://u:hunt?er2@host", "redis://…", True),
        ("redis://u:hunt#er2@host", "redis://…", True),
        ("redis://u:hunt@er2@host", "redis://…", True),
        ("redis://host?password=hunt@er2", "redis://…", True),
        ("redis:hunter2", "redis:…", False),
        ("", "…", False),
    ],
)
def test_what_is_secret_in_a_url_is_known_and_not_shown(
    url: str, seen: str, secret: bool
) -> None:
    assert shown(url) == seen
    assert has_password(url) is secret
