"""Shared state: what several instances of a gateway know together, in Redis or Valkey.

Whatever the store does, a call goes on: who asks it waits for one timeout at most, and only as long as nobody knows yet
that the store is lost. Everything here is optional, and needs redis-py (the extra ``redis``).
"""
