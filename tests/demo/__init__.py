"""The command `session-proxy demo`, run as its users run it."""
