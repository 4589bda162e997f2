"""What the library costs, beside its peers. See ``__main__`` for how to run it."""
