"""The admin listener of a supervised gateway: its health, its statistics, and an API to look and to change."""
