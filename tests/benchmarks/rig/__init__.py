"""What `load.py` is made of: servers, loads, measurements, the report."""
