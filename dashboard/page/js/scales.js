// Scales: numbers into sizes, colours, text and paths. Pure, but for the language of the units.

import { say } from "./words.js";

const ERROR_STOPS = [
  [0.0, [47, 158, 98]],
  [0.1, [118, 166, 62]],
  [0.25, [226, 168, 10]],
  [0.4, [232, 112, 26]],
  [0.5, [214, 48, 49]],
];

/** The smallest of 1, 2, 5 times a power of ten that is not below `value`: a scale's end that seldom changes. */
export function niceCeiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 5]) {
    if (value <= step * power * (1 + 1e-12)) return step * power;
  }
  return 10 * power;
}

/** A circle's radius: its area is proportional to the value. Any traffic at all is visible. */
export function radius(value, ceiling, largest, smallest = 3) {
  if (!(value > 0)) return 0;
  return Math.max(smallest, largest * Math.sqrt(Math.min(1, value / ceiling)));
}

/** Colour of an error rate, 0..1: green through yellow and orange to red at one half. */
export function errorColour(rate) {
  let [below, from] = ERROR_STOPS[0];
  for (const [above, to] of ERROR_STOPS) {
    if (rate <= above) {
      const share = above > below ? (rate - below) / (above - below) : 0;
      return `rgb(${from.map((c, i) => Math.round(c + (to[i] - c) * share)).join(" ")})`;
    }
    [below, from] = [above, to];
  }
  return `rgb(${from.join(" ")})`;
}

/** A word for an error rate, so that it can be styled: "none", "some", "high", "severe". */
export function errorLevel(rate) {
  if (rate < 0.01) return "none";
  if (rate < 0.1) return "some";
  return rate < 0.35 ? "high" : "severe";
}

/** 2 (red), 1 (amber) or 0: how bad an error rate is, beside how bad a circuit's state is. */
export function errorSeverity(rate) {
  const level = errorLevel(rate);
  return level === "severe" ? 2 : level === "high" ? 1 : 0;
}

/** "60.0%"; never "100.0%" or "0.0%" unless it is exactly that. */
export function percentText(ratio) {
  const percent = ratio * 100;
  if (percent > 0 && percent < 0.05) return "<0.1%";
  if (percent < 100 && percent >= 99.95) return "99.9%";
  return `${percent.toFixed(1)}%`;
}

/** Per second, with as many digits as are worth reading. */
export function rateText(rate) {
  if (rate === 0 || rate >= 99.95) return shortText(rate);
  if (rate < 0.05) return "<0.1";
  return rate.toFixed(1);
}

/** A scale's end, as niceCeiling() makes it. */
export function scaleText(top) {
  return top < 1 ? String(Number(top.toPrecision(1))) : shortText(top);
}

/** A whole number, shortened from a million on. */
export function shortText(value) {
  if (value < 999_999.5) return String(Math.round(value));
  const [unit, size] = value < 999.95e6 ? ["M", 1e6] : value < 999.95e9 ? ["G", 1e9] : ["T", 1e12];
  return value < 999.95e12 ? `${(value / size).toFixed(1)}${unit}` : value.toExponential(1);
}

/** A latency: "0.4 ms", "12 ms", "1.24 s". */
export function latencyText(seconds) {
  const ms = seconds * 1000;
  if (ms === 0) return "0 ms";
  if (ms < 0.1) return "<0.1 ms";
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (seconds < 99.5) return `${seconds.toPrecision(3)} s`;
  return `${shortText(seconds)} s`;
}

/** How long ago, or how long until: "0.4 s", "12 s", "5 min", "3 h". */
export function durationText(seconds) {
  if (seconds < 9.95) return say("seconds", seconds.toFixed(1));
  if (seconds < 100) return say("seconds", Math.round(seconds));
  if (seconds < 6000) return say("minutes", Math.round(seconds / 60));
  return say("hours", shortText(seconds / 3600));
}

/** Like durationText, without tenths: for ages that are redrawn once a second. */
export function ageText(seconds) {
  return seconds < 100 ? say("seconds", Math.max(0, Math.floor(seconds))) : durationText(seconds);
}

/** An SVG path over `values` (NaN breaks it) in a box; `closed` draws the area down to the base line. */
export function sparkPath(values, top, width, height, closed = false) {
  const step = width / Math.max(1, values.length - 1);
  const parts = [];
  let runStart = -1;
  for (let i = 0; i <= values.length; i += 1) {
    const known = i < values.length && !Number.isNaN(values[i]);
    if (known) {
      const y = height - (Math.min(values[i], top) / top) * height;
      parts.push(`${runStart < 0 ? "M" : "L"}${round(i * step)} ${round(y)}`);
      if (runStart < 0) runStart = i;
    } else if (runStart >= 0) {
      if (closed) parts.push(`L${round((i - 1) * step)} ${height}L${round(runStart * step)} ${height}Z`);
      else if (i - 1 === runStart) parts.push("h0.01");
      runStart = -1;
    }
  }
  return parts.join("");
}

function round(value) {
  return Math.round(value * 10) / 10;
}
