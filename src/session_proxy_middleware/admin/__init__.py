"""The admin API: services, sessions and keys over HTTP, for the platform alone.

`admin.asgi.AdminAPI` and `admin.wsgi.AdminAPI` are applications of their own, never
part of what `SessionProxyMiddleware` serves.
"""
