// Ordering: which tile stands before which, and which are shown at all. Pure functions over commands of a Fleet.
//
// Every comparison is of numbers, field by field (never one number glued to another), and ends with the key, so the
// order is total: equal commands never swap places.
//
// What hurts most is what most callers run into: failed and refused calls per second. A full bulkhead behind a closed
// circuit hurts; an open circuit that nobody calls does not. The state only decides between equals.

import { say } from "./words.js";

const BY_KEY = (a, b) => compared(a.key, b.key) || compared(a.id, b.id);

function compared(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

function worstFirst(of) {
  return (a, b) => of(b.view) - of(a.view);
}

function hurtsMost(a, b) {
  return (
    Number(a.stale) - Number(b.stale)
    || b.view.failedRate - a.view.failedRate
    || b.view.stateSeverity - a.view.stateSeverity
    || b.view.errorRate - a.view.errorRate
    || b.view.rate - a.view.rate
  );
}

export const SORTS = Object.freeze({
  hurts: { compare: hurtsMost },
  error: { compare: worstFirst((v) => v.errorRate) },
  volume: { compare: worstFirst((v) => v.rate) },
  refused: { compare: worstFirst((v) => v.refused) },
  in_flight: { compare: worstFirst((v) => v.inFlight) },
  mean: { compare: worstFirst((v) => v.latency.mean) },
  p50: { compare: worstFirst((v) => v.latency.p50) },
  p90: { compare: worstFirst((v) => v.latency.p90) },
  p99: { compare: worstFirst((v) => v.latency.p99) },
  p995: { compare: worstFirst((v) => v.latency.p995) },
  name: { compare: () => 0 },
});

/** A sort's name as people read it. */
export function sortLabel(name) {
  return say(`by_${name}`);
}

/** The commands in order. `reversed` turns the sort around, but equal commands stay in the order of their keys. */
export function ordered(commands, sort, reversed = false) {
  const { compare } = SORTS[sort] ?? SORTS.hurts;
  const sign = reversed ? -1 : 1;
  const lastResort = sort === "name" ? sign : 1;
  return [...commands].sort((a, b) => sign * compare(a, b) || lastResort * BY_KEY(a, b));
}

/** Keep the order that is on the page; commands new to it go to the end, departed ones drop out. */
export function held(commands, idsOnPage) {
  const left = new Map([...commands].map((command) => [command.id, command]));
  const kept = [];
  for (const id of idsOnPage) {
    const command = left.get(id);
    if (command !== undefined) kept.push(command);
    left.delete(id);
  }
  return [...kept, ...left.values()];
}

/**
 * Which of these may stay where they are while the others move between them, as few as possible: a Set of indices.
 * `places` says where each is now, in the order that is wanted; -1: nowhere yet.
 */
export function staying(places) {
  const ends = []; // of the best rising sequence of each length, its last index
  const before = [];
  places.forEach((place, i) => {
    if (place < 0) return;
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (places[ends[middle]] < place) low = middle + 1;
      else high = middle;
    }
    before[i] = ends[low - 1] ?? -1;
    ends[low] = i;
  });
  const found = new Set();
  for (let i = ends.at(-1) ?? -1; i >= 0; i = before[i]) found.add(i);
  return found;
}

/** A predicate: every word occurs in the key or the group, and the state is the wanted one ("" is any). */
export function matcher(text, wanted = "") {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return (command) => {
    if (wanted !== "" && wanted !== conditionOf(command)) return false;
    const name = `${command.key}\n${command.view.group}`.toLowerCase();
    return words.every((word) => name.includes(word));
  };
}

/** What a command is counted as in the summary: "stale", "open", "half_open", "failing" (behind a closed circuit) or "". */
export function conditionOf({ stale, view }) {
  if (stale) return "stale";
  if (view.refusing) return "open";
  if (view.probing) return "half_open";
  return view.severity === 2 ? "failing" : "";
}
