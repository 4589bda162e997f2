"""Commands: the handle of one, the handle over one for each key, and what stands behind them."""
