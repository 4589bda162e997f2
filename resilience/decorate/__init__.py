"""What users write: ``command``, ``Pipeline`` and a decorator for each policy."""
