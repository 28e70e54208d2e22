"""The contract on the wire, through both drivers, with real servers and sockets."""
