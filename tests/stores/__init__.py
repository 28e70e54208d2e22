"""One behaviour, three stores, with and without await."""
