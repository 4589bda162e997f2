"""Supervision: a parent process that keeps the gateway's workers alive, and knows what all of them count."""
