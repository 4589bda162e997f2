// Aggregate: the readings of all reporters of one command, as one view.
//
// Counts, rates and concurrency are sums. The error rate is weighted by requests: a busy healthy instance is not
// outvoted by an idle sick one. Percentiles cannot be merged, so each shows the worst instance (the true one is never
// above it); the mean is weighted by requests. The state is `mixed` as soon as the reporters disagree.

import { EVENTS, LATENCIES, STATES } from "./wire.js";

const REFUSING = ["open", "forced_open"];

/** Combine readings (at least one) into a view; `total` is how many reporters the command has, silent ones included. */
export function combine(readings, total = readings.length) {
  const first = readings[0];
  const counts = sumCounts(readings);
  const states = sumStates(readings);
  const requests = sum(readings, (r) => r.requests);
  const limits = readings.map((r) => r.maxConcurrent);
  const rejected = counts.semaphore_rejected + counts.thread_pool_rejected + counts.throttled + counts.rate_limited
    + counts.no_time_left;
  const hosts = sum(readings, (r) => r.hosts);
  return {
    key: first.key,
    group: first.group,
    state: stateOf(states),
    stateText: stateText(states, hosts),
    severity: severityOf(states),
    hosts,
    silent: total - readings.length,
    retryAfter: smallest(readings.map((r) => r.retryAfter)),
    requests,
    errors: sum(readings, (r) => r.errors),
    errorRate: errorRate(readings),
    unhappy: requests > 0 ? Math.min(1, (counts.failure + counts.timeout + counts.short_circuited + rejected) / requests) : 0,
    rate: sum(readings, (r) => r.rate),
    refused: sum(readings, (r) => r.refused),
    refusedShare: requests > 0 ? Math.min(1, sum(readings, (r) => r.refused) / requests) : 0,
    counts,
    rejected,
    latency: latencyOf(readings),
    merged: readings.length > 1 || first.approximate,
    inFlight: sum(readings, (r) => r.inFlight),
    maxInFlight: sum(readings, (r) => r.maxInFlight),
    maxConcurrent: limits.includes(null) ? null : limits.reduce((a, b) => a + b, 0),
    abandoned: sum(readings, (r) => r.abandoned),
    timeout: first.timeout,
    isolation: first.isolation,
  };
}

/** A state's name as people read it. */
export function readable(state) {
  return state.replaceAll("_", "-").replace(/^forced-/, "forced ");
}

function sum(readings, of) {
  let total = 0;
  for (const reading of readings) total += of(reading);
  return total;
}

function sumCounts(readings) {
  const counts = {};
  for (const name of EVENTS) counts[name] = sum(readings, (r) => r.counts[name]);
  return counts;
}

function sumStates(readings) {
  const states = {};
  for (const reading of readings) {
    for (const name of STATES) {
      if (reading.states[name] > 0) states[name] = (states[name] ?? 0) + reading.states[name];
    }
  }
  return states;
}

function stateOf(states) {
  const names = Object.keys(states);
  return names.length === 1 ? names[0] : "mixed";
}

/** "closed", or which share is not: "open 1/3 · half-open 1/3". */
function stateText(states, hosts) {
  const names = STATES.filter((name) => states[name] > 0);
  if (names.length === 1) return readable(names[0]);
  return names.filter((name) => name !== "closed").map((name) => `${readable(name)} ${states[name]}/${hosts}`).join(" · ");
}

/** 2: some instance refuses; 1: some instance is probing; 0: none. */
function severityOf(states) {
  if (REFUSING.some((name) => states[name] > 0)) return 2;
  return states.half_open > 0 ? 1 : 0;
}

/** Errors over requests of all readings. The denominator is recovered from each reading's own rate. */
function errorRate(readings) {
  if (readings.length === 1) return readings[0].errorRate;
  let errors = 0;
  let weights = 0;
  for (const reading of readings) {
    const weight = reading.errorRate > 0 && reading.errors > 0 ? reading.errors / reading.errorRate : reading.requests;
    errors += weight * reading.errorRate;
    weights += weight;
  }
  return weights > 0 ? errors / weights : 0;
}

function latencyOf(readings) {
  if (readings.length === 1) return readings[0].latency;
  const latency = {};
  for (const name of LATENCIES) latency[name] = Math.max(...readings.map((r) => r.latency[name]));
  const weights = sum(readings, (r) => r.requests);
  if (weights > 0) latency.mean = sum(readings, (r) => r.latency.mean * r.requests) / weights;
  latency.p0 = Math.min(...readings.map((r) => r.latency.p0));
  return latency;
}

function smallest(values) {
  const known = values.filter((value) => value !== null);
  return known.length > 0 ? Math.min(...known) : null;
}
