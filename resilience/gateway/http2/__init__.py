"""HTTP/2 on the library h2: what both ends of the gateway have in common."""
