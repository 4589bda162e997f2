// Header: the summary line, the streams' condition and the controls.
//
// What the reader chose is kept in the address (`#sort=p99&filter=pay`), so that a view can be bookmarked and shared.

import { SORTS, sortLabel } from "./ordering.js";
import { percentText, rateText, shortText } from "./scales.js";
import { complaint, overall } from "./status.js";
import { LANGUAGES, languageOf, say, spoken } from "./words.js";

const EVERY_MS = 250;
const SHARE = 20; // of the time at most one part in so many: the totals of thousands of commands are dear
const CHIPS = Object.freeze({ open: "open", half_open: "half-open", failing: "failing", stale: "stale" });
const $ = (id) => document.getElementById(id);

export class Header {
  constructor({ board, fleet, links, connections, staleAfterMs, title }) {
    Object.assign(this, { board, fleet, links, connections, staleAfterMs });
    this._shown = new Map();
    this._drawnAt = -Infinity;
    this._cost = 0;
    this.connection = null;
    $("title").textContent = title;
    document.title = title;
    for (const name of Object.keys(SORTS)) $("sort").append(new Option(sortLabel(name), name));
    for (const [tag, label] of Object.entries(LANGUAGES)) $("language").append(new Option(label, tag));
    $("language").value = spoken();
    this._restore();
    this._listen();
  }

  /** Redraw the words unless that was done a moment ago: numbers that change faster cannot be read. */
  drawSoon(now) {
    if (now - this._drawnAt >= Math.max(EVERY_MS, SHARE * this._cost)) this.draw(now);
  }

  /** Redraw the words; `now` on the page's monotonic clock. */
  draw(now) {
    this._drawnAt = now;
    const total = this.fleet.summary();
    this._set("commands", shortText(total.commands));
    this._set("open", shortText(total.open));
    this._set("half-open", shortText(total.halfOpen));
    this._set("failing", shortText(total.failing));
    this._set("stale", shortText(total.stale));
    this._set("rate", rateText(total.rate));
    this._set("refused", rateText(total.refusedRate));
    this._set("errors", percentText(total.errorRate));
    for (const name of Object.values(CHIPS)) {
      const chip = $(`chip-${name}`);
      const idle = this._shown.get(name) === "0";
      if (chip.classList.contains("idle") !== idle) chip.classList.toggle("idle", idle);
    }
    this._drawStreams(now);
    this._drawEmptiness(total);
    this._cost = performance.now() - now;
  }

  _drawStreams(now) {
    this.connection = overall(this.links, now, this.staleAfterMs);
    const { level, text } = this.connection;
    this._set("connection", text);
    if (document.body.dataset.connection !== level) document.body.dataset.connection = level;
    const complaints = this.links.map((link) => complaint(link, now, this.staleAfterMs)).filter((c) => c !== null);
    const list = $("complaints");
    complaints.forEach((sentence, i) => {
      const item = list.children[i] ?? list.appendChild(document.createElement("li"));
      if (item.textContent !== sentence) item.textContent = sentence;
    });
    while (list.children.length > complaints.length) list.lastElementChild.remove();
    $("banner").hidden = complaints.length === 0;
    this._drawNotes();
  }

  _drawNotes() {
    const oversized = this.connections.reduce((sum, { oversized: each }) => sum + each, 0);
    const malformed = this.fleet.malformed + oversized;
    const notes = [];
    if (malformed > 0) notes.push(say("malformed", malformed, shortText(malformed)));
    if (this.fleet.overflowed > 0) notes.push(say("overflowed"));
    this._set("notes", notes.join("; "));
    this._set("malformed", String(malformed));
  }

  _drawEmptiness(total) {
    const { shownCount } = this.board;
    let text = "";
    if (total.commands === 0) {
      const connected = this.links.some((link) => link.state === "live");
      text = connected ? say("none_reported") : say("waiting_first");
    } else if (shownCount === 0 && this.board.tiles.size > 0) {
      text = say("none_matches");
    }
    this._set("empty", text);
    this._set("shown", this._filtering() ? say("shown", shownCount, total.commands) : "");
    this._set("held", this.board.isHeld(performance.now()) ? say("held") : "");
  }

  _filtering() {
    return this.board.filter.trim() !== "" || this.board.wanted !== "";
  }

  _set(id, text) {
    if (this._shown.get(id) === text) return;
    this._shown.set(id, text);
    $(`show-${id}`).textContent = text;
  }

  _listen() {
    $("filter").addEventListener("input", () => this._choose({ filter: $("filter").value }));
    $("sort").addEventListener("change", () => this._choose({ sort: $("sort").value }));
    $("reverse").addEventListener("click", () => this._choose({ reversed: !this.board.reversed }));
    $("density").addEventListener("click", () => this._toggleDensity());
    $("retry").addEventListener("click", () => this.links.forEach((link) => link.state === "waiting" && link.connect()));
    $("show-help").addEventListener("click", () => showHelp());
    $("language").addEventListener("change", () => this._speak($("language").value));
    for (const [state, name] of Object.entries(CHIPS)) {
      $(`chip-${name}`).addEventListener("click", () => this._choose({ wanted: this.board.wanted === state ? "" : state }));
    }
    document.addEventListener("keydown", (event) => this._key(event));
    window.addEventListener("hashchange", () => this._follow());
  }

  _key(event) {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    const plain = !typing && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key === "?" && plain) {
      event.preventDefault();
      showHelp();
    } else if (event.key === "/" && plain) {
      event.preventDefault();
      $("filter").focus();
    } else if (event.key === "Escape" && event.target === $("filter")) {
      $("filter").value = "";
      this._choose({ filter: "" });
    }
  }

  _toggleDensity() {
    document.body.dataset.density = document.body.dataset.density === "compact" ? "full" : "compact";
    this._choose({});
  }

  /** Another language: the page is loaded again with it. What had been drawn comes back with the streams. */
  _speak(language) {
    this.language = language;
    this._choose({});
    location.reload();
  }

  _choose(choice) {
    this.board.choose(choice);
    this._reflect();
    const { sort, reversed, filter, wanted } = this.board;
    const kept = new URLSearchParams();
    if (sort !== "hurts") kept.set("sort", sort);
    if (reversed) kept.set("reversed", "1");
    if (filter !== "") kept.set("filter", filter);
    if (wanted !== "") kept.set("state", wanted);
    if (document.body.dataset.density === "compact") kept.set("density", "compact");
    if (this.language !== "") kept.set("lang", this.language);
    history.replaceState(null, "", `#${kept}`);
  }

  /** Another address, as a bookmark or a pasted link gives it: show what it says. */
  _follow() {
    if (languageOf(location.hash) !== this.language) location.reload();
    else this._restore();
  }

  _restore() {
    const kept = new URLSearchParams(location.hash.slice(1));
    const sort = Object.hasOwn(SORTS, kept.get("sort") ?? "") ? kept.get("sort") : "hurts";
    const wanted = Object.hasOwn(CHIPS, kept.get("state") ?? "") ? kept.get("state") : "";
    this.language = languageOf(location.hash);
    document.body.dataset.density = kept.get("density") === "compact" ? "compact" : "full";
    $("filter").value = kept.get("filter") ?? "";
    this.board.choose({ sort, reversed: kept.get("reversed") === "1", filter: $("filter").value, wanted });
    this._reflect();
  }

  _reflect() {
    const { sort, reversed, wanted } = this.board;
    $("sort").value = sort;
    $("reverse").setAttribute("aria-pressed", String(reversed));
    $("density").setAttribute("aria-pressed", String(document.body.dataset.density === "compact"));
    for (const [state, name] of Object.entries(CHIPS)) {
      $(`chip-${name}`).setAttribute("aria-pressed", String(wanted === state));
    }
  }
}

function showHelp() {
  $("help").open = true;
  $("help").scrollIntoView({ block: "nearest" });
  $("help").querySelector("summary").focus();
}
