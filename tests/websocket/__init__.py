"""WebSocket sessions, through every ASGI server that does WebSockets."""
