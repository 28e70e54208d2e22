"""Tests of session_proxy_middleware."""
