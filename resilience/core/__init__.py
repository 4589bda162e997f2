"""Pure policies: told the time and the random number, they never wait, log or call user code."""
