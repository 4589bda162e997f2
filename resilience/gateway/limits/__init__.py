"""Limits of the gateway: how often a caller may ask, and what is turned away when there is too much of everything."""
