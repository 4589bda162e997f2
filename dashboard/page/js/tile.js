// Tile: one command's element, and how it follows the command's view.
//
// Theory of operation. The markup is the <template> of index.html; here its slots are filled. Text goes in as text
// nodes and attributes only, so a key can hold anything. Each slot remembers what it shows: an unchanged number costs
// a comparison and touches no DOM. The sparkline and the ages are drawn in `drawTime`, once a second and only on
// screen.

import { readable } from "./aggregate.js";
import {
  ageText, durationText, errorColour, errorLevel, latencyText, niceCeiling, percentText, radius, rateText, shortText, sparkPath,
} from "./scales.js";

export const LARGEST = 46;
const SPARK = { width: 240, height: 56 };
const LATENCY_FIELDS = ["p50", "mean", "p90", "p95", "p99", "p995"];
const COUNT_FIELDS = [
  "success", "failure", "timeout", "short_circuited", "bad_request", "exceptions_thrown", "cancelled", "responses_from_cache",
  "fallback_success", "fallback_failure", "fallback_rejection", "fallback_missing",
];

let serial = 0;

export class Tile {
  constructor(template, command) {
    this.key = command.key;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.visible = true;
    this.drawnAt = -Infinity;
    this._text = new Map();
    this._value = new Map();
    this._attribute = new Map();
    this._fields = new Map();
    this._slots = new Map();
    for (const node of this.element.querySelectorAll("[data-field]")) this._fields.set(node.dataset.field, node);
    for (const node of this.element.querySelectorAll("[data-slot]")) this._slots.set(node.dataset.slot, node);
    this._name(command);
  }

  /** Show the command's current view. `ceiling` is the rate of the largest circle. */
  draw(command, ceiling) {
    const { view } = command;
    this._drawState(command);
    this._drawTraffic(view, ceiling);
    for (const name of COUNT_FIELDS) this._number(name, view.counts[name], shortText);
    this._number("rejected", view.rejected, shortText);
    for (const name of LATENCY_FIELDS) this._number(name, view.latency[name], latencyText);
    this._drawLoad(view);
    const note = view.hosts > 1 ? (view.merged ? "percentiles: worst instance" : "") : "";
    this._set("latency-note", view.hosts > 1 && command.reporters.size === 1 ? "mean of the hosts" : note);
  }

  /** Show what moves with time alone: the sparkline, the transitions' ages, how long nothing has been heard. */
  drawTime(command, now) {
    const points = command.history.until(Math.floor(now / 1000));
    const rates = points.map((p) => p.rate);
    const top = niceCeiling(Math.max(0, ...rates.filter((r) => !Number.isNaN(r))));
    this._attr("spark-line", "d", sparkPath(rates, top, SPARK.width, SPARK.height));
    this._attr("spark-area", "d", sparkPath(rates, top, SPARK.width, SPARK.height, true));
    this._attr("spark-bad", "d", sparkPath(points.map((p) => p.unhappy), top, SPARK.width, SPARK.height, true));
    this._set("spark-top", `${shortText(top)}/s`);
    this._set("stale", command.stale ? `no data for ${ageText((now - command.lastAt) / 1000)}` : "");
    this._drawTransitions(command.transitions(now));
  }

  _name(command) {
    const title = `command-${(serial += 1)}`;
    const name = this._slots.get("name");
    name.id = title;
    name.title = command.key;
    name.textContent = command.key;
    this.element.setAttribute("aria-labelledby", title);
    this.element.dataset.command = command.key;
  }

  _drawState({ view, stale }) {
    this._own("data-group", view.group);
    this._own("data-state", view.state);
    this._own("data-severity", String(view.severity));
    this._own("data-stale", stale ? "true" : "false");
    this._set("group", view.group);
    this._field("state", view.stateText, view.state);
    this._attr("icon", "href", `#switch-${view.state}`);
    this._field("retry_after", view.retryAfter === null ? "" : durationText(view.retryAfter), view.retryAfter ?? "");
    this._show("retry", view.retryAfter !== null && !stale);
    const silent = view.silent > 0 ? `, ${view.silent} silent` : "";
    this._field("instances", view.hosts > 1 || silent ? `${view.hosts} instance${view.hosts === 1 ? "" : "s"}${silent}` : "", view.hosts);
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

  _drawLoad(view) {
    this._number("in_flight", view.inFlight, shortText);
    this._number("max_in_flight", view.maxInFlight, shortText);
    this._field("max_concurrent", view.maxConcurrent === null ? "∞" : shortText(view.maxConcurrent), view.maxConcurrent ?? "");
    this._number("abandoned", view.abandoned, shortText);
    this._show("abandoned", view.abandoned > 0);
    const limit = Math.max(1, view.maxConcurrent ?? view.maxInFlight);
    this._attr("load-now", "width", ((100 * Math.min(view.inFlight, limit)) / limit).toFixed(1));
    this._attr("load-max", "width", ((100 * Math.min(view.maxInFlight, limit)) / limit).toFixed(1));
  }

  _drawTransitions(transitions) {
    const list = this._slots.get("transitions");
    const lines = transitions.map((t) => {
      const why = t.trigger === "" ? "" : ` (${t.trigger.replaceAll("_", " ")})`;
      return [`${readable(t.from)} → ${readable(t.to)}${why}`, `${ageText(t.ageMs / 1000)} ago`];
    });
    const signature = JSON.stringify(lines);
    if (this._text.get("transitions") === signature) return;
    this._text.set("transitions", signature);
    list.replaceChildren(...lines.map(([what, when]) => {
      const item = document.createElement("li");
      const age = document.createElement("span");
      item.textContent = what;
      age.textContent = when;
      age.className = "age";
      item.append(age);
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
    if (this._attribute.get(attribute) === value) return;
    this._attribute.set(attribute, value);
    this.element.setAttribute(attribute, value);
  }

  _attr(slot, attribute, value) {
    const id = `${slot} ${attribute}`;
    if (this._attribute.get(id) === value) return;
    this._attribute.set(id, value);
    this._slots.get(slot).setAttribute(attribute, value);
  }
}

