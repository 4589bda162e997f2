// Backoff: how long to wait before the next attempt to connect. Pure: the random number comes from the caller.

/** Milliseconds before attempt `failures` + 1: doubling from `min` to `max`, of which a random half is waited at least. */
export function retryDelay(failures, random, { min, max }) {
  const ceiling = Math.min(max, min * 2 ** Math.min(30, Math.max(0, failures - 1)));
  return ceiling / 2 + (random * ceiling) / 2;
}
