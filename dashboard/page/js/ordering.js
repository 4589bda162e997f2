// Ordering: which tile stands before which, and which are shown at all. Pure functions over commands of a Fleet.
//
// Every comparison is of numbers, field by field (never one number glued to another), and ends with the key, so the
// order is total: equal commands never swap places.
//
// What hurts most is what most callers run into: failed and refused calls per second, but for those that a fallback has
// answered. A full bulkhead behind a closed circuit hurts; an open circuit that nobody calls does not. Between equals, one
// that fails behind its fallback comes first, then the state decides, and then the name: the commands that are well stand in
// the order of their names, whatever their traffic does, and are found where they were.
//
// Numbers never rest. So a command keeps the number by which it was ranked until it differs from it by a fifth, or for
// PATIENCE re-orderings: two that fail about equally often do not swap places every other second. It stands among those
// that fail for a while after its last failure.

import { say } from "./words.js";

const BY_KEY = (a, b) => compared(a.key, b.key) || compared(a.id, b.id);
const DIFFERENT = 1.2;
const PATIENCE = 15; // re-orderings for which a number that differs by less is kept
const RECOVERY = 5; // re-orderings for which it is kept when there is none left

function compared(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** By what each sort ranks, the largest first. */
export const SORTS = Object.freeze({
  hurts: (view) => view.hurtRate,
  error: (view) => view.errorRate,
  volume: (view) => view.rate,
  refused: (view) => view.refused,
  in_flight: (view) => view.inFlight,
  mean: (view) => view.latency.mean,
  p50: (view) => view.latency.p50,
  p90: (view) => view.latency.p90,
  p99: (view) => view.latency.p99,
  p995: (view) => view.latency.p995,
  name: () => 0,
});

/** The numbers by which commands are ranked, each kept until it is clearly another. */
export class Ranking {
  constructor(sortEveryMs) {
    this.sortEveryMs = sortEveryMs;
    this.choose("hurts");
  }

  /** Rank by another number, or anew by the same. */
  choose(sort) {
    this.sort = Object.hasOwn(SORTS, sort) ? sort : "hurts";
    this._kept = new Map();
  }

  /** A function from command to number. Call once for each re-ordering. */
  numbers(commands, now) {
    const kept = new Map();
    for (const command of commands) kept.set(command.id, this._judge(SORTS[this.sort](command.view), this._kept.get(command.id), now));
    this._kept = kept;
    return ({ id }) => kept.get(id).number;
  }

  /** {number, at: since when it is kept, seenAt: when there last was any}. */
  _judge(number, kept, now) {
    const exact = { number, at: now, seenAt: now };
    if (kept === undefined || number === kept.number) return exact;
    const rested = (since) => (now - since) / this.sortEveryMs;
    if (number === 0) return rested(kept.seenAt) < RECOVERY ? kept : exact;
    const different = number > kept.number * DIFFERENT || number * DIFFERENT < kept.number;
    return different || rested(kept.at) >= PATIENCE ? exact : { ...kept, seenAt: now };
  }
}

/** A sort's name as people read it. */
export function sortLabel(name) {
  return say(`by_${name}`);
}

/** The commands in order. `reversed` turns the sort around, but equal commands stay in the order of their keys. */
export function ordered(commands, ranking, reversed, now) {
  const number = ranking.numbers(commands, now);
  const sign = reversed ? -1 : 1;
  const lastResort = ranking.sort === "name" ? sign : 1;
  const hurts = ranking.sort === "hurts";
  const compare = (a, b) => (
    (hurts ? Number(a.stale) - Number(b.stale) : 0)
    || number(b) - number(a)
    || (hurts ? Number(b.view.severity === 2) - Number(a.view.severity === 2) : 0)
    || (hurts ? b.view.stateSeverity - a.view.stateSeverity : 0)
  );
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
