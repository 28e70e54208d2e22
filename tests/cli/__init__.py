"""The command `session-proxy`, run as its users run it."""
