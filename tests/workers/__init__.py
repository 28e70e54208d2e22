"""Several processes on one store, and stores that fail under them."""
