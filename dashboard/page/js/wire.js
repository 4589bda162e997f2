// Wire: one stream message in, one reading out.
//
// Theory of operation. A *reading* is what one reporter (a process, or a Turbine that sums up many) says about one
// command at one moment. Two dialects become the same reading, so that the same command looks the same over either:
//
// - `ResilienceCommand`: ratios 0..1 and seconds already.
// - `HystrixCommand`, of Hystrix itself or summed by Turbine (`reportingHosts` > 1). Turbine adds up the hosts'
//   percentiles, so they are divided by the hosts: the mean of the hosts, marked `approximate`. `requestCount` leaves
//   short-circuited calls out; here they are traffic and errors like all refused calls.
//
// Nothing a message holds is trusted: a wrong type reads as zero or absent, a message without a usable key as malformed.

export const EVENTS = Object.freeze([
  "success", "failure", "timeout", "short_circuited", "semaphore_rejected", "thread_pool_rejected", "bad_request",
  "fallback_success", "fallback_failure", "fallback_rejection", "fallback_missing", "exceptions_thrown", "cancelled",
  "responses_from_cache", "collapsed", "emit", "fallback_emit", "throttled", "rate_limited", "no_time_left",
  "stale_responses", "shadow_rejected",
]);
export const REFUSALS = Object.freeze([
  "short_circuited", "semaphore_rejected", "thread_pool_rejected", "throttled", "rate_limited", "no_time_left",
]);
export const LATENCIES = Object.freeze(["mean", "p0", "p25", "p50", "p75", "p90", "p95", "p99", "p995", "p100"]);
export const STATES = Object.freeze(["open", "forced_open", "half_open", "closed", "forced_closed", "disabled"]);

const OWN = "_rejected"; // how the names of a policy's own refusals end

const MOST_OWN = 12; // a tile has no room for more

const HYSTRIX_COUNTS = Object.freeze({
  success: "Success", failure: "Failure", timeout: "Timeout", short_circuited: "ShortCircuited",
  semaphore_rejected: "SemaphoreRejected", thread_pool_rejected: "ThreadPoolRejected", bad_request: "BadRequests",
  fallback_success: "FallbackSuccess", fallback_failure: "FallbackFailure", fallback_rejection: "FallbackRejection",
  fallback_missing: "FallbackMissing", exceptions_thrown: "ExceptionsThrown",
  responses_from_cache: "ResponsesFromCache", collapsed: "CollapsedRequests", emit: "Emit", fallback_emit: "FallbackEmit",
});
const HYSTRIX_LATENCIES = Object.freeze({
  p0: "0", p25: "25", p50: "50", p75: "75", p90: "90", p95: "95", p99: "99", p995: "99.5", p100: "100",
});

/** Java's largest int, which stands for no limit in a stream of Hystrix. */
const NO_LIMIT = 2 ** 31 - 1;

const IGNORED = Object.freeze({ kind: "ignored" });
const MALFORMED = Object.freeze({ kind: "malformed" });

/** Read one event's data. Never throws; returns {kind: "reading" | "removed" | "ignored" | "malformed", ...}. */
export function readMessage(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return MALFORMED;
  }
  if (!isObject(message)) return MALFORMED;
  switch (message.type) {
    case "ResilienceCommand":
      return hasText(message.key) ? { kind: "reading", reading: ofResilience(message) } : MALFORMED;
    case "ResilienceRemoved":
      return hasText(message.key) ? { kind: "removed", key: message.key, instance: textOf(message.instance) } : MALFORMED;
    case "HystrixCommand":
      return hasText(message.name) ? { kind: "reading", reading: ofHystrix(message) } : MALFORMED;
    default:
      return typeof message.type === "string" || message.deleteData ? IGNORED : MALFORMED;
  }
}

function ofResilience(message) {
  const counts = {};
  const given = isObject(message.counts) ? message.counts : {};
  for (const name of EVENTS) counts[name] = count(given[name]);
  const latency = {};
  const seconds = isObject(message.latency_s) ? message.latency_s : {};
  for (const name of LATENCIES) latency[name] = amount(seconds[name]);
  const transitions = Array.isArray(message.transitions) ? message.transitions.slice(-5).filter(isObject).map(ofTransition) : [];
  const errors = count(message.errors);
  const window = amount(message.window_s) || 10;
  return {
    key: message.key,
    group: textOf(message.group),
    instance: textOf(message.instance),
    sum: message.sum === true,
    hosts: 1,
    states: { [STATES.includes(message.state) ? message.state : "closed"]: 1 },
    retryAfter: optional(message.retry_after_s),
    since: optional(message.opened_ago_s) ?? optional(message.state_since_s) ?? transitions.at(-1)?.age ?? null,
    reason: textOf(message.reason).slice(0, 500),
    lastFailure: ofFailure(message.last_failure),
    requests: count(message.requests),
    errors,
    failedRate: errors / window,
    hurtRate: unanswered(errors, counts) / window,
    errorRate: Math.min(1, amount(message.error_rate)),
    rate: amount(message.rate),
    refused: count(message.refused),
    counts,
    ownRefusals: ofOwnRefusals(given),
    gauges: ofGauges(message.gauges),
    shadow: Array.isArray(message.shadow) ? message.shadow.filter(hasText).slice(0, MOST_OWN).map((name) => name.slice(0, 100)) : [],
    hasFallback: hasFallback(message.has_fallback, counts),
    latency,
    approximate: false,
    inFlight: count(message.in_flight),
    maxInFlight: count(message.max_in_flight),
    maxConcurrent: optional(message.max_concurrent),
    abandoned: count(message.abandoned),
    transitions,
    history: ofHistory(message.history, window),
  };
}

/** How many of the failed and refused calls neither a fallback nor a stale answer has answered. */
function unanswered(errors, counts) {
  return Math.max(0, errors - counts.fallback_success - counts.stale_responses);
}

/** What policies of the users' own have refused, by name of the policy: what is counted as NAME_rejected. */
function ofOwnRefusals(counts) {
  const own = Object.keys(counts).filter((name) => name.length > OWN.length && name.endsWith(OWN) && !EVENTS.includes(name));
  return new Map(own.slice(0, MOST_OWN).map((name) => [name.slice(0, -OWN.length).slice(0, 100), count(counts[name])]));
}

/** What such policies show of themselves, by "POLICY.NAME"; of any sign. */
function ofGauges(gauges) {
  if (!isObject(gauges)) return new Map();
  return new Map(Object.entries(gauges).filter(([, value]) => Number.isFinite(value)).slice(0, MOST_OWN)
    .map(([name, value]) => [name.slice(0, 100), value]));
}

/** Whether a command has a fallback: what the message says, or whether one has lately answered. */
function hasFallback(said, counts) {
  if (typeof said === "boolean") return said;
  return counts.fallback_success + counts.fallback_failure + counts.fallback_rejection + counts.fallback_emit > 0;
}

/** The last failure of a command: {type, message, ago (seconds), count}; null if there was none, or nobody says. */
function ofFailure(failure) {
  if (!isObject(failure) || !hasText(failure.type)) return null;
  return {
    type: failure.type.slice(0, 200),
    message: textOf(failure.message).slice(0, 500),
    ago: amount(failure.ago_s),
    count: Math.max(1, count(failure.count)),
  };
}

/** What happened before the page was opened: points {age (seconds), rate, failed (both per second)}, oldest first. */
function ofHistory(history, window) {
  if (!isObject(history) || !Array.isArray(history.requests) || !Array.isArray(history.errors)) return null;
  const step = amount(history.step_s) || 1;
  const slices = Math.min(history.requests.length, 1000);
  const span = Math.max(1, Math.round(window / step));
  const points = [];
  let requests = 0;
  let errors = 0;
  for (let i = 0; i < slices; i += 1) {
    requests += count(history.requests[i]) - (i >= span ? count(history.requests[i - span]) : 0);
    errors += count(history.errors[i]) - (i >= span ? count(history.errors[i - span]) : 0);
    points.push({ age: amount(history.age_s) + (slices - 1 - i) * step, rate: requests / window, failed: errors / window });
  }
  return points;
}

function ofTransition(transition) {
  return {
    from: textOf(transition.from),
    to: textOf(transition.to),
    trigger: textOf(transition.trigger),
    age: amount(transition.age_s),
  };
}

function ofHystrix(message) {
  const hosts = Math.max(1, count(message.reportingHosts));
  const counts = {};
  for (const name of EVENTS) counts[name] = count(message[`rollingCount${HYSTRIX_COUNTS[name]}`]);
  const latency = { mean: amount(message.latencyExecute_mean) / hosts / 1000 };
  const milliseconds = isObject(message.latencyExecute) ? message.latencyExecute : {};
  for (const name of LATENCIES) {
    if (name !== "mean") latency[name] = amount(milliseconds[HYSTRIX_LATENCIES[name]]) / hosts / 1000;
  }
  const traffic = hystrixTraffic(message, counts, hosts);
  const permits = message.propertyValue_executionIsolationStrategy === "SEMAPHORE"
    ? perHost(message, "executionIsolationSemaphoreMaxConcurrentRequests", hosts) : null;
  const limit = permits !== null && permits >= NO_LIMIT ? null : permits;
  return {
    key: message.name,
    group: textOf(message.group),
    instance: "",
    sum: false,
    hosts,
    states: hystrixStates(message, hosts),
    retryAfter: null,
    since: null,
    reason: "",
    lastFailure: null,
    ...traffic,
    refused: counts.short_circuited + counts.semaphore_rejected + counts.thread_pool_rejected,
    counts,
    ownRefusals: new Map(),
    gauges: new Map(),
    shadow: [],
    hasFallback: hasFallback(null, counts),
    latency,
    approximate: hosts > 1,
    inFlight: count(message.currentConcurrentExecutionCount),
    maxInFlight: count(message.rollingMaxConcurrentExecutionCount),
    maxConcurrent: limit === null ? null : limit * hosts,
    abandoned: 0,
    transitions: null,
    history: null,
  };
}

function hystrixTraffic(message, counts, hosts) {
  const counted = count(message.requestCount);
  const failed = "errorCount" in message
    ? count(message.errorCount) : Math.round((counted * amount(message.errorPercentage)) / hosts / 100);
  const requests = counted + counts.short_circuited;
  const errors = Math.min(requests, failed + counts.short_circuited);
  const window = perHost(message, "metricsRollingStatisticalWindowInMilliseconds", hosts) || 10_000;
  const errorRate = requests > 0 ? errors / requests : 0;
  const [rate, failedRate, hurtRate] = [requests, errors, unanswered(errors, counts)].map((calls) => (calls * 1000) / window);
  return { requests, errors, errorRate, rate, failedRate, hurtRate };
}

/**
 * A numeric property of one host. Turbine 2 leaves equal values alone and turns different ones into a histogram (the
 * largest value counts); Turbine 1 sums them, which shows in an error threshold of 100 % or more.
 */
function perHost(message, name, hosts) {
  const value = message[`propertyValue_${name}`];
  const histogram = asHistogram(value);
  if (histogram !== null) {
    const values = Object.keys(histogram).map(Number).filter(Number.isFinite);
    return values.length > 0 ? Math.max(...values) : null;
  }
  const number = optional(value);
  const summed = hosts > 1 && amount(message.propertyValue_circuitBreakerErrorThresholdPercentage) >= 100;
  return number !== null && summed ? number / hosts : number;
}

function hystrixStates(message, hosts) {
  if (message.propertyValue_circuitBreakerEnabled === false) return { disabled: hosts };
  const forcedOpen = howMany(message.propertyValue_circuitBreakerForceOpen, hosts);
  const forcedClosed = Math.min(howMany(message.propertyValue_circuitBreakerForceClosed, hosts), hosts - forcedOpen);
  const left = hosts - forcedOpen - forcedClosed;
  const open = Math.min(Math.max(0, howMany(message.isCircuitBreakerOpen, hosts) - forcedOpen), left);
  const states = {};
  if (forcedOpen > 0) states.forced_open = forcedOpen;
  if (open > 0) states.open = open;
  if (forcedClosed > 0) states.forced_closed = forcedClosed;
  if (left - open > 0) states.closed = left - open;
  return states;
}

/** On how many hosts a flag is true: a bool, its text, a number of hosts, or a histogram {"true": 1, "false": 2}. */
function howMany(value, hosts) {
  if (value === true || value === "true") return hosts;
  if (typeof value === "number") return Math.min(hosts, count(value));
  const histogram = asHistogram(value);
  if (histogram === null) return 0;
  return Math.min(hosts, count(Object.hasOwn(histogram, "true") ? histogram["true"] : 0));
}

function asHistogram(value) {
  if (isObject(value)) return value;
  if (typeof value !== "string" || !value.startsWith("{")) return null;
  try {
    const parsed = JSON.parse(value);
    return isObject(parsed) ? parsed : null;
  } catch {
    return null;
  }
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasText(value) {
  return typeof value === "string" && value !== "";
}

function textOf(value) {
  return typeof value === "string" ? value : "";
}

function amount(value) {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0;
}

function count(value) {
  return Math.floor(amount(value));
}

function optional(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : null;
}
