// Fleet: everything the streams have said, kept per command and per reporter. Pure: it is told the time.
//
// Theory of operation. A *reporter* is one instance on one stream (a Hystrix stream names no instance, so it is one
// reporter). A command is known by its key and its group, as in Prometheus: the gateway's service `orders` is not the
// command `orders` of a shop. It holds the last reading of each of its reporters. Readings younger than `staleAfterMs` make
// up the view; without any, the command keeps its last view and is stale. Reporters silent for `forgetAfterMs` are
// forgotten, and a command with its last reporter. Memory is bounded by `maxCommands` and `MAX_REPORTERS`.
//
// A view is put together when somebody looks at it, not with each message: of two messages between two looks the first is
// superseded. A process that was restarted is replaced by its successor (successors.js), and not silent beside it.
//
// A reading may bring what its reporter did before this page was opened. It counts once, with the first reading of that
// reporter, so a line is there at once, and no second of it twice.
//
// Times are milliseconds of one monotonic clock. `dirty` collects the commands whose tiles must be redrawn.

import { combine, severityOf, stateOfReading } from "./aggregate.js";
import { History, SLOTS } from "./history.js";
import { conditionOf } from "./ordering.js";
import { replaceRestarted, restartsOf } from "./successors.js";
import { readMessage } from "./wire.js";

const MAX_REPORTERS = 200;
const MAX_TRANSITIONS = 5;

class Command {
  constructor(id, key) {
    this.id = id;
    this.key = key;
    this.reporters = new Map();
    this.history = new History();
    this.seen = [];
    this.lastAt = 0;
    this.stale = false;
    this._fresh = [];
    this._total = 0;
    this._view = null;
  }

  /** What the fresh readings amount to; the last ones, if none is fresh. */
  get view() {
    this._view ??= combine(this._fresh, this._total);
    return this._view;
  }

  /** Take note of a new reading, or of reporters that came or went. */
  refresh(now, staleAfterMs) {
    const fresh = [];
    for (const reporter of this.reporters.values()) {
      if (now - reporter.at < staleAfterMs) fresh.push(reporter.reading);
    }
    this.stale = fresh.length === 0;
    if (this.stale) return;
    this._fresh = fresh;
    this._total = this.reporters.size;
    this._view = null;
  }

  /** Whether time alone has changed how many reporters are fresh. */
  hasAged(now, staleAfterMs) {
    let fresh = 0;
    for (const reporter of this.reporters.values()) if (now - reporter.at < staleAfterMs) fresh += 1;
    return fresh !== (this.stale ? 0 : this._fresh.length);
  }

  /** Processes of this command that were restarted lately: {times, agoMs}; null: none. */
  restarts(now, withinMs) {
    return restartsOf(this.reporters, now, withinMs);
  }

  /** Seconds since the state was last seen to change; null if it never was. For streams that do not say. */
  changedAgo(now) {
    const last = this.seen.at(-1);
    return last === undefined ? null : (now - last.at) / 1000;
  }

  /** The last transitions of all reporters, newest first: [{from, to, trigger, ageMs}]. */
  transitions(now) {
    const oldestFirst = this.seen.map((t) => ({ ...t, ageMs: now - t.at }));
    for (const { reading, at } of this.reporters.values()) {
      for (const t of reading.transitions ?? []) oldestFirst.push({ ...t, ageMs: now - at + t.age * 1000 });
    }
    return oldestFirst.reverse().sort((a, b) => a.ageMs - b.ageMs).slice(0, MAX_TRANSITIONS);
  }
}

export class Fleet {
  /** `labels` names the streams, for reporters that name no instance. */
  constructor({ staleAfterMs, forgetAfterMs, maxCommands = 10_000, labels = [] }) {
    this.labels = labels;
    this.staleAfterMs = staleAfterMs;
    this.forgetAfterMs = forgetAfterMs;
    this.maxCommands = maxCommands;
    this.commands = new Map();
    this.dirty = new Set();
    this.malformed = 0;
    this.overflowed = 0;
    this.heard = 0;
  }

  /** Take one message of stream number `stream`; returns its kind. Never throws. */
  apply(stream, text, now) {
    const message = readMessage(text);
    if (message.kind === "malformed") this.malformed += 1;
    if (message.kind === "reading") this._read(stream, message.reading, now);
    if (message.kind === "removed") this._remove(message.key, reporterId(stream, message.instance), now);
    return message.kind;
  }

  /** Notice what time alone changes: commands that went stale or are to be forgotten. Call about once a second. */
  tick(now) {
    for (const command of this.commands.values()) {
      let changed = replaceRestarted(command.reporters, now, this.staleAfterMs);
      for (const [id, reporter] of command.reporters) {
        if (now - reporter.at >= this.forgetAfterMs) changed = command.reporters.delete(id) || changed;
      }
      if (command.reporters.size === 0) {
        this.commands.delete(command.id);
        this.dirty.delete(command.id);
      } else if (changed || command.hasAged(now, this.staleAfterMs)) {
        command.refresh(now, this.staleAfterMs);
        this.dirty.add(command.id);
      }
    }
  }

  /** Totals for the summary line. Stale commands and the parts of a sum are counted, but their traffic is not. */
  summary() {
    const total = { commands: 0, open: 0, halfOpen: 0, failing: 0, stale: 0, rate: 0, refusedRate: 0, errorRate: 0 };
    const sums = this._sums();
    let errorsPerSecond = 0;
    for (const command of this.commands.values()) {
      const { view } = command;
      const condition = conditionOf(command);
      total.commands += 1;
      if (condition === "open") total.open += 1;
      if (condition === "half_open") total.halfOpen += 1;
      if (condition === "failing") total.failing += 1;
      if (condition === "stale") total.stale += 1;
      if (condition === "stale" || (sums.get(view.group) ?? command) !== command) continue;
      total.rate += view.rate;
      total.refusedRate += view.rate * view.refusedShare;
      errorsPerSecond += view.rate * view.errorRate;
    }
    total.errorRate = total.rate > 0 ? errorsPerSecond / total.rate : 0;
    return total;
  }

  /** The commands, none of them stale, that add others up, by the group of their parts: that is their key. */
  _sums() {
    const sums = [...this.commands.values()].filter((command) => command.view.sum && !command.stale);
    return new Map(sums.map((command) => [command.key, command]));
  }

  /** Whether stream number `stream` has told of commands that are still known: then it has something to say. */
  hears(stream) {
    for (const { reporters } of this.commands.values()) {
      for (const reporter of reporters.values()) if (reporter.stream === stream) return true;
    }
    return false;
  }

  /** The reporters in trouble, worst first, silent ones last: [{name, reading, severity, silentMs}]; silentMs 0: it speaks. */
  troubled(command, now) {
    const found = [];
    for (const { reading, at, stream } of command.reporters.values()) {
      const silentMs = now - at >= this.staleAfterMs ? now - at : 0;
      const severity = severityOf(reading);
      if (silentMs === 0 && severity === 0) continue;
      found.push({ name: reading.instance || (this.labels[stream] ?? ""), reading, severity, silentMs });
    }
    return found.sort((a, b) => a.silentMs - b.silentMs || b.severity - a.severity
      || b.reading.failedRate - a.reading.failedRate || (a.name < b.name ? -1 : 1));
  }

  _read(stream, reading, now) {
    const command = this._command(reading);
    if (command === null) return;
    const id = reporterId(stream, reading.instance);
    const before = command.reporters.get(id);
    if (before === undefined && command.reporters.size >= MAX_REPORTERS) {
      this.overflowed += 1;
      return;
    }
    if (before !== undefined && reading.transitions === null) this._notice(command, before.reading, reading, now);
    if (before === undefined && reading.history !== null) command.history.fill(seconds(reading, now));
    reading.history = null;
    this.heard += 1;
    const heard = { reading, at: now, lastHeard: this.heard };
    if (before !== undefined) Object.assign(before, heard);
    else command.reporters.set(id, { ...heard, stream, firstAt: now, firstHeard: this.heard, restarts: 0, restartedAt: 0 });
    command.lastAt = now;
    command.refresh(now, this.staleAfterMs);
    this.dirty.add(command.id);
    const second = Math.floor(now / 1000);
    if (second === command.history.last) return;
    command.history.put(second, command.view.rate, command.view.failedRate, this.staleAfterMs / 1000);
  }

  /** A stream that tells no transitions: the change between two readings is one. */
  _notice(command, before, after, now) {
    const from = stateOfReading(before);
    const to = stateOfReading(after);
    if (from !== to) command.seen = [...command.seen, { from, to, trigger: "", at: now }].slice(-MAX_TRANSITIONS);
  }

  _command({ key, group }) {
    const id = `${key}\n${group}`;
    const known = this.commands.get(id);
    if (known !== undefined) return known;
    if (this.commands.size >= this.maxCommands) {
      this.overflowed += 1;
      return null;
    }
    const command = new Command(id, key);
    this.commands.set(id, command);
    return command;
  }

  _remove(key, reporter, now) {
    for (const command of this.commands.values()) {
      if (command.key !== key || !command.reporters.delete(reporter)) continue;
      if (command.reporters.size === 0) {
        this.commands.delete(command.id);
        this.dirty.delete(command.id);
      } else {
        command.refresh(now, this.staleAfterMs);
        this.dirty.add(command.id);
      }
    }
  }
}

function reporterId(stream, instance) {
  return `${stream} ${instance}`;
}

/** What a reporter did before its first reading, a point per second: [{second, rate, unhappy}], oldest first. */
function seconds(reading, now) {
  const last = Math.floor(now / 1000) - 1;
  const points = [];
  for (const { age, rate, failed } of [...reading.history, { age: 0, rate: reading.rate, failed: reading.failedRate }]) {
    const second = Math.min(last, Math.floor(now / 1000 - age));
    const from = points.length > 0 ? points.at(-1).second + 1 : second;
    for (let s = Math.max(from, last - SLOTS + 1); s <= second; s += 1) points.push({ second: s, rate, unhappy: failed });
  }
  return points;
}
