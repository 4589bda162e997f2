// Board: the tiles on the page, when they are redrawn and when they may move.
//
// Theory of operation. Messages only mark commands dirty. Every command has an element with its name at once, so it can be
// found, counted and put in order. Only tiles on screen or near it are filled with their numbers and redrawn with each frame;
// the others are filled and redrawn while the browser is idle, and at most MOST_FILLED are kept filled. So a board costs what
// can be seen of it: thousands of commands cost no more than their names.
//
// Tiles are put in order every `sortEveryMs` and at once when the reader asks, but not while a pointer has lately moved
// over them or the keyboard is inside: nothing jumps away from under a finger. Nothing is animated either: a transition
// on a few circles would keep a browser busier than a thousand commands do.

import { places } from "./names.js";
import { held, matcher, ordered, Ranking, staying } from "./ordering.js";
import { Pace } from "./pace.js";
import { niceCeiling } from "./scales.js";
import { Tile } from "./tile.js";

export const MOST_FILLED = 1000;
const FEW = 6; // of those that the reader has filtered may take all the room they want
const NEAR = "600px"; // what may be scrolled to before the next frame
const IDLE_WAIT_MS = 50; // a browser that is never idle works for the tiles off screen all the same: a part of the time
const PART = 0.2;
const LONGEST_MS = 400;

export class Board {
  constructor({ element, template, fleet, sortEveryMs, holdMs, onDrawn }) {
    Object.assign(this, { element, template, fleet, sortEveryMs, holdMs, onDrawn });
    this.tiles = new Map();
    this.reversed = false;
    this.filter = "";
    this.wanted = "";
    this.shownCount = 0;
    this._ranking = new Ranking(sortEveryMs);
    this._ceiling = 1;
    this._sortedAt = -Infinity;
    this._pointerAt = -Infinity;
    this._mustOrder = false;
    this._mustName = false;
    this._idle = 0;
    this._workedAt = performance.now();
    this._empty = new Set(); // tiles
    this._full = new Set(); // those filled, the one longest out of sight first
    this._pace = new Pace((now) => this._draw(now));
    this._sight = new IntersectionObserver((entries) => this._seen(entries), { rootMargin: NEAR });
    this._byElement = new WeakMap();
    this._watchPointer();
    window.addEventListener("beforeprint", () => this._fillAll());
    matchMedia("print").addEventListener("change", ({ matches }) => matches && this._fillAll());
  }

  get sort() {
    return this._ranking.sort;
  }

  /** Change what is shown and how; takes effect in the next frame. */
  choose({ sort = this.sort, reversed = this.reversed, filter = this.filter, wanted = this.wanted }) {
    if (sort !== this.sort || reversed !== this.reversed) this._ranking.choose(sort);
    Object.assign(this, { reversed, filter, wanted });
    this._pointerAt = -Infinity;
    this._mustOrder = true;
    this._pace.now();
  }

  /** Redraw soon what is dirty. */
  schedule() {
    this._pace.soon();
  }

  /** Once a second: scale, ages and sparklines of the tiles on screen, and the order if it is due. */
  tick(now) {
    this._rescale();
    if (this.fleet.dirty.size > 0 || this.fleet.commands.size !== this.tiles.size || now - this._sortedAt >= this.sortEveryMs) this.schedule();
    for (const tile of this._full) {
      const command = this.fleet.commands.get(tile.id);
      if (tile.visible && command !== undefined) tile.drawTime(command, this.fleet, now);
    }
  }

  /** Whether the order is kept still for the reader's sake. */
  isHeld(now) {
    return now - this._pointerAt < this.holdMs || this.element.contains(document.activeElement);
  }

  _draw(now) {
    if (this.fleet.commands.size !== this.tiles.size) this._rescale();
    this._make();
    this._sweep();
    for (const tile of this._full) if (tile.visible) this._redraw(tile);
    if (this._mustName) this._cutNames();
    if (this._mustOrder || now - this._sortedAt >= this.sortEveryMs) this._order(now);
    this._workWhenIdle();
    this.onDrawn();
  }

  /** Make a tile of each command that has none. */
  _make() {
    const { commands } = this.fleet;
    if (commands.size === this.tiles.size && !this._mustMake()) return;
    for (const command of commands.values()) {
      if (this.tiles.has(command.id)) continue;
      const tile = new Tile(this.template, command);
      tile.draw(command, this._ceiling);
      this.tiles.set(command.id, tile);
      this._byElement.set(tile.element, tile);
      this._empty.add(tile);
      this._mustOrder = this._mustName = true;
    }
  }

  /** As many commands as tiles, but others: one has left and another has come. */
  _mustMake() {
    for (const id of this.fleet.dirty) if (!this.tiles.has(id)) return true;
    return false;
  }

  _redraw(tile) {
    const command = this.fleet.commands.get(tile.id);
    if (command !== undefined && this.fleet.dirty.delete(tile.id)) tile.draw(command, this._ceiling);
  }

  _fill(tile, now) {
    const command = this.fleet.commands.get(tile.id);
    if (command === undefined) return;
    this.fleet.dirty.delete(tile.id);
    tile.fill(command, this._ceiling, this.fleet, now);
    this._empty.delete(tile);
    this._full.add(tile);
  }

  /** Paper has no screen: all tiles are told whole. */
  _fillAll() {
    const now = performance.now();
    this._make();
    for (const tile of [...this._empty]) this._fill(tile, now);
    for (const tile of this._full) this._redraw(tile);
    this._order(now);
  }

  /** Names that would look alike are cut where they differ; known only when all of them are. */
  _cutNames() {
    const tiles = [...this.tiles.values()];
    const found = places(new Set(tiles.map((tile) => tile.key)));
    for (const tile of tiles) tile.cutName(found.get(tile.key) ?? 0);
    this._mustName = false;
  }

  /** Take the tiles of departed commands away. */
  _sweep() {
    for (const [id, tile] of this.tiles) {
      if (this.fleet.commands.has(id)) continue;
      this._sight.unobserve(tile.element);
      tile.element.remove();
      this.tiles.delete(id);
      this._empty.delete(tile);
      this._full.delete(tile);
    }
  }

  _workWhenIdle() {
    const some = this.fleet.dirty.size > 0 || (this._empty.size > 0 && this._full.size < MOST_FILLED) || this._full.size > MOST_FILLED;
    if (this._idle === 0 && some) this._idle = requestIdleCallback((deadline) => this._work(deadline), { timeout: IDLE_WAIT_MS });
  }

  /** Tiles off screen: empty those that are too many, redraw those that are dirty, fill more. */
  _work(deadline) {
    this._idle = 0;
    const now = performance.now();
    const end = now + Math.min(LONGEST_MS, PART * (now - this._workedAt));
    this._workedAt = now;
    const isOver = () => deadline.timeRemaining() < 1 && performance.now() >= end;
    for (const tile of this._full) {
      if (this._full.size <= MOST_FILLED || isOver()) break;
      if (!tile.visible) this._forsake(tile);
    }
    for (const id of this.fleet.dirty) {
      if (isOver()) break;
      if (this.tiles.has(id)) this._redraw(this.tiles.get(id));
    }
    for (const tile of this._empty) {
      if (this._full.size >= MOST_FILLED) break;
      this._fill(tile, now); // one at least: redrawing may take all of the time, each time
      if (isOver()) break;
    }
    this._workWhenIdle();
  }

  _forsake(tile) {
    tile.empty();
    this._full.delete(tile);
    this._empty.add(tile);
  }

  _order(now) {
    const commands = [...this.tiles.keys()].map((id) => this.fleet.commands.get(id));
    const inOrder = this.isHeld(now)
      ? held(commands, [...this.element.children].map((e) => this._byElement.get(e).id))
      : ordered(commands, this._ranking, this.reversed, now);
    const matches = matcher(this.filter, this.wanted);
    this.shownCount = 0;
    for (const command of inOrder) {
      const { element } = this.tiles.get(command.id);
      const shown = matches(command);
      if (element.hidden === shown) element.hidden = !shown;
      if (shown) this.shownCount += 1;
    }
    document.body.dataset.few = String(this.shownCount < commands.length && this.shownCount <= FEW);
    this._arrange(inOrder.map((command) => this.tiles.get(command.id).element));
    this._sortedAt = now;
    this._mustOrder = false;
  }

  /** Bring the elements into this order; as few as possible are moved, since each move costs a layout. */
  _arrange(elements) {
    const standing = new Map([...this.element.children].map((element, i) => [element, i]));
    const stay = staying(elements.map((element) => standing.get(element) ?? -1));
    let next = null;
    for (let i = elements.length - 1; i >= 0; i -= 1) {
      const element = elements[i];
      if (!stay.has(i)) this.element.insertBefore(element, next);
      if (!standing.has(element)) this._sight.observe(element);
      next = element;
    }
  }

  /** Fit the circles' scale to the busiest command; in steps, so that it seldom changes. */
  _rescale() {
    let most = 0;
    for (const { view } of this.fleet.commands.values()) most = Math.max(most, view.rate);
    const ceiling = niceCeiling(Math.max(10, most));
    if (ceiling === this._ceiling) return;
    this._ceiling = ceiling;
    for (const id of this.fleet.commands.keys()) this.fleet.dirty.add(id);
    this.schedule();
  }

  /** What comes into sight is told whole at once, and as it is now. */
  _seen(entries) {
    const now = performance.now();
    for (const { target, isIntersecting } of entries) {
      const tile = this._byElement.get(target);
      tile.visible = isIntersecting;
      if (!isIntersecting) {
        if (this._full.delete(tile)) this._full.add(tile);
      } else if (tile.filled) {
        const command = this.fleet.commands.get(tile.id);
        this._redraw(tile);
        if (command !== undefined) tile.drawTime(command, this.fleet, now);
      } else {
        this._fill(tile, now);
      }
    }
    this._workWhenIdle(); // of a stream that stands still nothing is drawn any more: who scrolls would fill all
  }

  _watchPointer() {
    const here = () => { this._pointerAt = performance.now(); };
    const gone = () => { this._pointerAt = -Infinity; };
    this.element.addEventListener("pointermove", here, { passive: true });
    this.element.addEventListener("pointerdown", here, { passive: true });
    this.element.addEventListener("pointerleave", gone, { passive: true });
  }
}
