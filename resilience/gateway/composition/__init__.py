"""Composition: one route asks several services and merges their answers."""
