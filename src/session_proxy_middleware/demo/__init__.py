"""`session-proxy demo`: a portal and two sessions, as processes of their own."""
