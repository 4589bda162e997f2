"""The gateway's own HTTP client: connections to upstreams, and the exchanges that they carry."""
