"""The only places of the engine that wait: one module per shape, never one per policy."""
