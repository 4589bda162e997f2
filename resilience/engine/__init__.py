"""From policy values and a function to one flat guarded function."""
