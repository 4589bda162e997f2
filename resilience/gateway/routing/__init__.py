"""Routing: the authority, the path and whatever else a request finds its route by. Pure."""
