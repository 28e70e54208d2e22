"""Every server a load is put on or passes through, one module each.

`asgi_*` and `wsgi_*` are the applications compared, read by uvicorn or gunicorn;
`upstream` answers them where nginx does not.
"""
