"""The files in `examples/`, run as their first lines say."""
