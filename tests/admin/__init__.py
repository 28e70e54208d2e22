"""The admin API, under ASGI and WSGI, over real sockets."""
