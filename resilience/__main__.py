"""``python -m resilience`` is the ``resilience`` command."""

from .cli import main

if __name__ == "__main__":
    main()
