"""Logs of the gateway: what each request came to, in the access log, in the statistics and in its trace."""
