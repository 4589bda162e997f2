// Aggregate: the readings of all reporters of one command, as one view.
//
// Counts, rates and concurrency are sums. The error rate is weighted by requests: a busy healthy instance is not
// outvoted by an idle sick one. Percentiles cannot be merged, so each shows the worst instance (the true one is never
// above it); the mean is weighted by requests. The state is `mixed` as soon as the reporters disagree.
//
// Two things make a command red or amber, and the worse of them counts: its state, and its error rate. A circuit that is
// open but would admit the next call is amber: it refuses nobody, it waits for a caller. What is in shadow mode refuses
// nobody whatever it says, and makes nothing red.

import { errorSeverity } from "./scales.js";
import { EVENTS, LATENCIES, REFUSALS, STATES } from "./wire.js";
import { sayOr } from "./words.js";

const REFUSING = ["open", "forced_open"];

/** Combine readings (at least one) into a view; `total` is how many reporters the command has, silent ones included. */
export function combine(readings, total = readings.length) {
  const first = readings[0];
  const counts = sumCounts(readings);
  const states = sumStates(readings);
  const requests = sum(readings, (r) => r.requests);
  const limits = readings.map((r) => r.maxConcurrent);
  const refused = sum(readings, (r) => r.refused);
  const known = REFUSALS.reduce((total, name) => total + counts[name], 0);
  const ownRefusals = sumByName(readings.map((r) => r.ownRefusals));
  const own = [...ownRefusals.values()].reduce((total, each) => total + each, 0);
  const otherRefusals = Math.max(0, refused - known - own);
  const rejected = known - counts.short_circuited + own + otherRefusals;
  const hosts = sum(readings, (r) => r.hosts);
  const rate = errorRate(readings);
  const stateSeverity = Math.max(...readings.map(stateSeverityOf));
  return {
    key: first.key,
    group: first.group,
    sum: readings.every((r) => r.sum),
    state: stateOf(states),
    stateText: stateText(states, hosts),
    refusing: readings.some((r) => REFUSING.some((name) => r.states[name] > 0) && stateSeverityOf(r) > 0),
    probing: readings.some((r) => r.states.half_open > 0 && stateSeverityOf(r) > 0),
    stateSeverity,
    severity: Math.max(stateSeverity, errorSeverity(rate)),
    course: courseOf(readings),
    since: largest(readings.filter((r) => stateSeverityOf(r) === stateSeverity).map((r) => r.since)),
    reason: readings.find((r) => r.reason !== "")?.reason ?? "",
    lastFailure: lastFailureOf(readings),
    hosts,
    silent: total - readings.length,
    retryAfter: smallest(readings.map((r) => r.retryAfter)),
    requests,
    errors: sum(readings, (r) => r.errors),
    errorRate: rate,
    failedRate: sum(readings, (r) => r.failedRate),
    hurtRate: sum(readings, (r) => r.hurtRate),
    rate: sum(readings, (r) => r.rate),
    refused,
    refusedShare: requests > 0 ? Math.min(1, refused / requests) : 0,
    counts,
    rejected,
    ownRefusals,
    otherRefusals,
    gauges: rangeByName(readings.map((r) => r.gauges)),
    hasFallback: readings.some((r) => r.hasFallback),
    latency: latencyOf(readings),
    merged: readings.length > 1 || first.approximate,
    inFlight: sum(readings, (r) => r.inFlight),
    maxInFlight: sum(readings, (r) => r.maxInFlight),
    maxConcurrent: limits.includes(null) ? null : limits.reduce((a, b) => a + b, 0),
    full: readings.filter(isFull).length,
    bounded: readings.some(isBounded),
    shadow: [...new Set(readings.flatMap((r) => r.shadow))],
    abandoned: sum(readings, (r) => r.abandoned),
  };
}

/** A state's name as people read it. */
export function readable(state) {
  return sayOr(`state_${state}`, state);
}

/** How bad one reading's state is. 2: it refuses; 1: it probes, or would with the next call; 0: neither, or only in name. */
export function stateSeverityOf(reading) {
  if (reading.states.forced_open > 0) return 2;
  if (reading.shadow.includes("breaker")) return 0;
  if (reading.states.open > 0) return waitsForCall(reading) ? 1 : 2;
  return reading.states.half_open > 0 ? 1 : 0;
}

/** How bad one reading is: the worse of its state and its error rate. */
export function severityOf(reading) {
  return Math.max(stateSeverityOf(reading), errorSeverity(reading.errorRate));
}

/** Whether all that may run at once do run, and no more may. */
export function isFull(reading) {
  return isBounded(reading) && reading.maxConcurrent > 0 && reading.inFlight >= reading.maxConcurrent;
}

function isBounded(reading) {
  return reading.maxConcurrent !== null && !reading.shadow.includes("max_concurrent");
}

/** The state of one reading, in words; of hosts that were summed up, how many are in which. */
export function stateOfOne(reading) {
  return stateText(reading.states, reading.hosts);
}

/** The state of one reading; "mixed" if it sums up hosts that disagree. */
export function stateOfReading(reading) {
  return stateOf(reading.states);
}

function waitsForCall(reading) {
  return reading.states.open > 0 && reading.retryAfter === 0;
}

/** What the circuit waits for: "forced" (an operator), "retry" (its time), "call" (a caller), "" (nothing, or nobody says). */
function courseOf(readings) {
  if (readings.some((r) => r.states.forced_open > 0 || r.states.forced_closed > 0)) return "forced";
  if (readings.some((r) => r.retryAfter > 0)) return "retry";
  return readings.some(waitsForCall) ? "call" : "";
}

/** The latest failure of all, with how many like it there were everywhere. */
function lastFailureOf(readings) {
  let latest = null;
  for (const { lastFailure } of readings) {
    if (lastFailure !== null && (latest === null || lastFailure.ago < latest.ago)) latest = lastFailure;
  }
  if (latest === null || readings.length === 1) return latest;
  const alike = readings.filter((r) => r.lastFailure?.type === latest.type);
  return { ...latest, count: sum(alike, (r) => r.lastFailure.count) };
}

function sum(readings, of) {
  let total = 0;
  for (const reading of readings) total += of(reading);
  return total;
}

function sumByName(maps) {
  const total = new Map();
  for (const map of maps) for (const [name, value] of map) total.set(name, (total.get(name) ?? 0) + value);
  return total;
}

/** The least and the largest value of each name: nobody knows whether a sum of them would mean anything. */
function rangeByName(maps) {
  const ranges = new Map();
  for (const map of maps) {
    for (const [name, value] of map) {
      const [least, most] = ranges.get(name) ?? [value, value];
      ranges.set(name, [Math.min(least, value), Math.max(most, value)]);
    }
  }
  return ranges;
}

function sumCounts(readings) {
  if (readings.length === 1) return readings[0].counts;
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

function largest(values) {
  const known = values.filter((value) => value !== null);
  return known.length > 0 ? Math.max(...known) : null;
}
