"""Pure functions: no I/O, no clock, no framework. What the proxy decides."""
