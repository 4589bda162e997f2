// Tile: one command's element, and how it follows the command's view.
//
// Theory of operation. A tile is its name and its condition first: an element with a heading. `fill` adds what is in the
// <template> of index.html, three hundred nodes, and `empty` takes it away again: the board decides which tiles are worth
// it. Text goes in as text nodes and attributes only, so a key can hold anything. Each slot remembers what it shows: an
// unchanged number costs a comparison and touches no DOM. The sparkline and the ages are drawn in `drawTime`, once a second
// and only on screen.

import { isFull, readable, stateOfOne, stateSeverityOf } from "./aggregate.js";
import { showName, typeName } from "./names.js";
import {
  ageText, durationText, errorColour, errorLevel, errorSeverity, latencyText, niceCeiling, percentText, radius, rateText, scaleText, shortText, sparkPath,
} from "./scales.js";
import { translated } from "./sentences.js";
import { REFUSALS } from "./wire.js";
import { say, sayOr } from "./words.js";

export const LARGEST = 46;
const SPARK = { width: 240, height: 56 };
const LATENCY_FIELDS = ["p50", "mean", "p90", "p95", "p99", "p995"];
const COUNT_FIELDS = [
  "success", "failure", "timeout", "bad_request", "exceptions_thrown", "cancelled", "responses_from_cache",
  "stale_responses", "shadow_rejected",
  "fallback_success", "fallback_failure", "fallback_rejection", "fallback_missing", ...REFUSALS,
];
const COURSES = Object.freeze({ forced: "until_released", call: "waits_for_call" });
const MOST_INSTANCES = 3;
const FAILING = 0.1; // the share of errors from which a command counts as failing: what makes it amber
const NEARLY_FULL = 0.8;

let serial = 0;

export class Tile {
  constructor(template, command) {
    this.id = command.id;
    this.key = command.key;
    this.template = template;
    this.element = template.content.firstElementChild.cloneNode(false);
    this.visible = false;
    this.filled = false;
    this._place = 0;
    this._marks = new Map();
    this._title = `command-${(serial += 1)}`;
    this.element.setAttribute("aria-label", this.key);
    this.element.dataset.command = this.key;
    this.empty();
  }

  /** Show all that there is to say; drawn before it is put into the page, so that it costs one layout. */
  fill(command, ceiling, fleet, now) {
    const body = this.template.content.firstElementChild.cloneNode(true);
    this._forget();
    for (const node of body.querySelectorAll("[data-field]")) this._fields.set(node.dataset.field, node);
    for (const node of body.querySelectorAll("[data-slot]")) this._slots.set(node.dataset.slot, node);
    this.filled = true;
    this._name(this._slots.get("name"));
    this.draw(command, ceiling);
    this.drawTime(command, fleet, now);
    this.element.dataset.filled = "true";
    this.element.replaceChildren(...body.childNodes);
  }

  /** Keep the name only. */
  empty() {
    const heading = element("h2", "name", "");
    heading.append(document.createElement("bdi"));
    this._forget();
    this.filled = false;
    this._name(heading.firstChild);
    this.element.dataset.filled = "false";
    this.element.replaceChildren(heading);
  }

  /** Show the command's current view. `ceiling` is the rate of the largest circle. */
  draw(command, ceiling) {
    const { view } = command;
    this._drawMarks(command);
    if (!this.filled) return;
    this._drawState(command);
    this._drawTraffic(view, ceiling);
    for (const name of COUNT_FIELDS) this._number(name, view.counts[name], shortText);
    this._number("refused", view.refused, shortText);
    this._number("rejected", view.rejected, shortText);
    this._number("other_refusals", view.otherRefusals, shortText);
    this._show("other-refusals", view.otherRefusals > 0);
    this._drawOwn(view);
    this._drawShadow(view);
    this._show("fallbacks", view.hasFallback);
    for (const name of LATENCY_FIELDS) this._number(name, view.latency[name], latencyText);
    this._drawLoad(view);
    this._drawFailure(view.lastFailure);
    const note = view.hosts > 1 ? (view.merged ? say("worst_instance") : "") : "";
    this._set("latency-note", view.hosts > 1 && command.reporters.size === 1 ? say("mean_of_hosts") : note);
  }

  /** Show what moves with time alone: the sparkline, ages, how long nothing has been heard and who is in trouble. */
  drawTime(command, fleet, now) {
    if (!this.filled) return;
    const points = command.history.until(Math.floor(now / 1000));
    const rates = points.map((p) => p.rate);
    const top = niceCeiling(Math.max(0, ...rates.filter((r) => !Number.isNaN(r))));
    this._attr("spark-line", "d", sparkPath(rates, top, SPARK.width, SPARK.height));
    this._attr("spark-area", "d", sparkPath(rates, top, SPARK.width, SPARK.height, true));
    this._attr("spark-bad", "d", sparkPath(points.map((p) => p.unhappy), top, SPARK.width, SPARK.height, true));
    this._set("spark-top", `${scaleText(top)}/s`);
    this._set("stale", command.stale ? say("data_none_for", ageText((now - command.lastAt) / 1000)) : "");
    this._drawSince(command, now);
    this._drawRestarts(command.restarts(now, fleet.forgetAfterMs));
    this._drawFailureAge(command, now);
    this._drawTransitions(command.transitions(now));
    this._drawInstances(command, fleet.troubled(command, now));
  }

  /** Cut the name, where there is no room for it, at another place than near its end; 0: near its end. */
  cutName(place) {
    if (place === this._place) return;
    this._place = place;
    showName(this._nameNode, this.key, place);
  }

  _name(node) {
    node.id = this._title;
    node.parentElement.setAttribute("aria-label", this.key); // its pieces are blocks, which are read with a space between
    this._nameNode = node;
    showName(node, this.key, this._place);
  }

  /** Forget what the slots show: they are made anew. */
  _forget() {
    this._text = new Map();
    this._value = new Map();
    this._attribute = new Map();
    this._fields = new Map();
    this._slots = new Map();
  }

  /** What can be told of a tile without its numbers. */
  _drawMarks({ view, stale }) {
    this._own("data-group", view.group);
    this._own("aria-description", view.group); // two of one name are told apart
    this._own("data-state", view.state);
    this._own("data-severity", String(view.severity));
    this._own("data-state-severity", String(view.stateSeverity));
    this._own("data-shadow", view.shadow.join(" "));
    this._own("data-stale", stale ? "true" : "false");
  }

  _drawState({ view, stale }) {
    this._drawGroup(view.group);
    this._field("state", view.stateText, view.state);
    this._attr("icon", "href", `#switch-${view.state}`);
    this._field("retry_after", view.retryAfter === null ? "" : durationText(view.retryAfter), view.retryAfter ?? "");
    this._show("retry", view.retryAfter !== null && view.retryAfter > 0 && view.course !== "forced" && !stale);
    const course = COURSES[view.course] ?? "";
    this._field("course", course === "" || stale ? "" : say(course), view.course);
    const reason = translated(view.reason) || refusedBy(view);
    this._field("reason", reason, reason);
    const several = view.hosts > 1 || view.silent > 0;
    const instances = view.silent > 0 ? say("instances_silent", view.hosts, view.silent) : say("instances", view.hosts);
    this._field("sum", view.sum ? say("sum") : "", String(view.sum));
    this._field("instances", several ? instances : "", view.hosts);
  }

  _drawGroup(group) {
    if (this._text.get("group") === group) return;
    this._text.set("group", group);
    showName(this._slots.get("group"), group);
  }

  /** Since when: the state as the stream says, or as it was seen to change; and how long the calls have been failing. */
  _drawSince(command, now) {
    const { view, stale } = command;
    const since = view.since === null ? command.changedAgo(now) : view.since + (now - command.lastAt) / 1000;
    this._field("since", since === null || stale ? "" : say("since", ageText(since)), since === null ? "" : Math.floor(since));
    const { seconds, longer } = command.history.failing(FAILING);
    const failing = stale || errorSeverity(view.errorRate) === 0 ? 0 : seconds;
    this._field("failing", failing === 0 ? "" : say(longer ? "failing_longer" : "failing_for", ageText(failing)), failing);
  }

  /** A process that was restarted: numbers that began anew, and perhaps one that will not stay up. */
  _drawRestarts(restarts) {
    const { times, agoMs } = restarts ?? { times: 0, agoMs: 0 };
    this._field("restarted", times === 0 ? "" : say("restarted", ageText(agoMs / 1000), times, shortText(times)), times);
  }

  _drawFailure(failure) {
    this._show("failure", failure !== null);
    if (failure === null) return;
    const { type, message } = failure;
    this._field("failure_type", typeName(type), type);
    this._field("failure_message", message, message);
    this._attr("failure", "title", message === "" ? type : `${type}: ${message}`);
  }

  /** When the last failure was, and how many were like it. */
  _drawFailureAge({ view: { lastFailure }, lastAt }, now) {
    if (lastFailure === null) return;
    const { ago, count } = lastFailure;
    this._field("failure_when", say("failure_when", ageText(ago + (now - lastAt) / 1000), count, shortText(count)), count);
  }

  /** Which instances are in trouble, if there are several; the worst few of them. */
  _drawInstances(command, troubled) {
    const several = command.reporters.size > 1;
    const lines = several ? troubled.slice(0, MOST_INSTANCES).map((one) => [one.name, String(one.severity), trouble(one)]) : [];
    const more = several ? troubled.length - lines.length : 0;
    const signature = JSON.stringify([lines, more]);
    if (this._text.get("troubled") === signature) return;
    this._text.set("troubled", signature);
    const items = lines.map(([name, severity, text]) => instanceItem(name, severity, text));
    if (more > 0) items.push(element("li", "more", say("and_more", more)));
    this._slots.get("troubled").replaceChildren(...items);
  }

  _drawTraffic(view, ceiling) {
    this._number("error_rate", view.errorRate, percentText);
    this._own("data-errors", errorLevel(view.errorRate));
    this._number("rate", view.rate, rateText);
    this._number("requests", view.requests, shortText);
    this._number("errors", view.errors, shortText);
    const ran = view.rate * (1 - view.refusedShare);
    this._attr("disc", "r", radius(view.rate, ceiling, LARGEST).toFixed(1));
    this._attr("core", "r", radius(ran, ceiling, LARGEST, 0).toFixed(1));
    const colour = errorColour(view.errorRate);
    this._attr("core", "fill", colour);
    this._attr("disc", "stroke", colour);
    this._attr("disc", "fill", colour);
  }

  /** What policies of the users' own have refused, and what policies show of themselves. */
  _drawOwn({ ownRefusals, gauges }) {
    this._pairs("own-refusals", "own", [...ownRefusals].map(([name, value]) => [name, shortText(value), value]));
    this._pairs("gauges", "gauge", [...gauges].map(([name, [least, most]]) =>
      [name, least === most ? gaugeText(least) : `${gaugeText(least)} – ${gaugeText(most)}`, least]));
  }

  /** Which policies only count what they would refuse, and how much that was. */
  _drawShadow({ shadow, counts }) {
    this._field("shadow", shadow.map((name) => sayOr(`policy_${name}`, name)).join(", "), shadow.join(" "));
    this._show("shadow", shadow.length + counts.shadow_rejected > 0);
  }

  /** A list whose names a stream brings along: [name, text, value] each; its row is there only if there are some. */
  _pairs(slot, kind, pairs) {
    this._show(slot, pairs.length > 0);
    const list = this._slots.get(slot);
    const names = JSON.stringify(pairs.map(([name]) => name));
    if (this._text.get(slot) !== names) {
      this._text.set(slot, names);
      list.replaceChildren(...pairs.map(([name]) => pairOf(kind, name)));
    }
    pairs.forEach(([, text, value], i) => {
      const node = list.children[i].lastChild;
      if (node.textContent !== text) node.textContent = text;
      node.classList.toggle("zero", value === 0);
    });
  }

  _drawLoad(view) {
    this._number("in_flight", view.inFlight, shortText);
    this._number("max_in_flight", view.maxInFlight, shortText);
    this._field("max_concurrent", view.maxConcurrent === null ? "∞" : shortText(view.maxConcurrent), view.maxConcurrent ?? "");
    this._number("abandoned", view.abandoned, shortText);
    this._show("abandoned", view.abandoned > 0);
    this._own("data-load", loadLevel(view));
    this._show("full", view.full > 0);
    const limit = Math.max(1, view.maxConcurrent ?? view.maxInFlight);
    this._attr("load-now", "width", ((100 * Math.min(view.inFlight, limit)) / limit).toFixed(1));
    this._attr("load-max", "width", ((100 * Math.min(view.maxInFlight, limit)) / limit).toFixed(1));
  }

  _drawTransitions(transitions) {
    const list = this._slots.get("transitions");
    const lines = transitions.map((t) => {
      const why = t.trigger === "" ? "" : ` (${sayOr(`trigger_${t.trigger}`, t.trigger)})`;
      return [`${readable(t.from)} → ${readable(t.to)}${why}`, say("ago", ageText(t.ageMs / 1000))];
    });
    const signature = JSON.stringify(lines);
    if (this._text.get("transitions") === signature) return;
    this._text.set("transitions", signature);
    list.replaceChildren(...lines.map(([what, when]) => {
      const item = element("li", "", what);
      item.append(element("span", "age", when));
      return item;
    }));
  }

  /** A number in a data-field element: readable as text, exact in data-value. */
  _number(name, value, format) {
    if (this._value.get(name) === value) return;
    this._field(name, format(value), value);
  }

  _field(name, text, value) {
    const node = this._fields.get(name);
    if (this._value.get(name) !== value) {
      this._value.set(name, value);
      node.dataset.value = String(value);
      node.classList.toggle("zero", value === 0);
    }
    this._write(name, node, text);
  }

  _set(name, text) {
    this._write(name, this._slots.get(name), text);
  }

  _write(name, node, text) {
    if (this._text.get(name) === text) return;
    this._text.set(name, text);
    node.textContent = text;
  }

  _show(name, shown) {
    this._attr(name, "data-off", shown ? "false" : "true");
  }

  _own(attribute, value) {
    if (this._marks.get(attribute) === value) return;
    this._marks.set(attribute, value);
    this.element.setAttribute(attribute, value);
  }

  _attr(slot, attribute, value) {
    const id = `${slot} ${attribute}`;
    if (this._attribute.get(id) === value) return;
    this._attribute.set(id, value);
    this._slots.get(slot).setAttribute(attribute, value);
  }
}


/** Why calls fail that never ran: the limit that refuses most of them; "" if none refuses so many that it hurts. */
function refusedBy(view) {
  if (view.rejected === 0 || 2 * view.rejected < view.errors || errorSeverity(view.errorRate) === 0) return "";
  const kinds = [...REFUSALS.slice(1).map((name) => [say(name), view.counts[name]]),
    ...[...view.ownRefusals].map(([name, refused]) => [inWords(name), refused])];
  const [worst, refused] = kinds.reduce((most, each) => (each[1] > most[1] ? each : most));
  if (2 * refused < view.errors) return "";
  return say("refused_by", worst, shortText(refused), shortText(view.requests));
}

/** How full: "full" as soon as one instance is, "high" near it. */
function loadLevel(view) {
  if (view.full > 0) return "full";
  return view.bounded && view.maxConcurrent > 0 && view.inFlight >= NEARLY_FULL * view.maxConcurrent ? "high" : "some";
}

/** What is wrong with one instance, in words: "open for 3 s, 100.0% errors, full (10)". */
function trouble({ reading, silentMs }) {
  if (silentMs > 0) return say("silent_for", ageText(silentMs / 1000));
  const parts = [];
  if (stateSeverityOf(reading) > 0 || errorSeverity(reading.errorRate) === 0) {
    parts.push(stateOfOne(reading) + (reading.since === null ? "" : ` ${say("since", ageText(reading.since))}`));
  }
  if (errorSeverity(reading.errorRate) > 0) parts.push(say("errors_of", percentText(reading.errorRate)));
  if (isFull(reading)) parts.push(say("full_at", shortText(reading.maxConcurrent)));
  return parts.join(", ");
}

function instanceItem(name, severity, text) {
  const item = element("li", "", "");
  item.dataset.instance = name;
  item.dataset.severity = severity;
  const shown = document.createElement("bdi");
  showName(shown, name);
  item.append(shown, element("span", "trouble", text));
  return item;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  made.textContent = text;
  return made;
}

/** A name and the place of its value; the name in words, whole where the pointer rests on it. */
function pairOf(kind, name) {
  const pair = document.createElement("div");
  const term = document.createElement("dt");
  const value = document.createElement("dd");
  term.textContent = inWords(name);
  pair.title = name;
  pair.className = kind === "own" ? "c-rejected" : "";
  value.dataset.field = `${kind}:${name}`;
  pair.append(term, value);
  return pair;
}

function inWords(name) {
  return name.replaceAll(/[._]/g, " ");
}

function gaugeText(value) {
  if (value < 0) return `−${gaugeText(-value)}`;
  return Number.isInteger(value) || value >= 1000 ? shortText(value) : String(Number(value.toPrecision(3)));
}
