"""Answers of upstreams: what they count as, and what a client gets in the place of one."""
