// Board: the tiles on the page, when they are redrawn and when they may move.
//
// Theory of operation. Messages only mark commands dirty. One animation frame at a time, tiles are redrawn for at most
// FRAME_MS (longer while a page fills or many wait), those on screen first; the rest waits for the next frame. Tiles off screen are
// redrawn at most every OFF_SCREEN_MS. So a thousand commands cost smoothness, never responsiveness.
//
// Tiles are put in order every `sortEveryMs` and at once when the reader asks, but not while a pointer has lately moved
// over them or the keyboard is inside: nothing jumps away from under a finger. Nothing is animated either: a transition
// on a few circles would keep a browser busier than a thousand commands do.

import { places } from "./names.js";
import { held, matcher, ordered, staying } from "./ordering.js";
import { niceCeiling } from "./scales.js";
import { Tile } from "./tile.js";

const FRAME_MS = 8;
const BUSY_FRAME_MS = 16; // with more than BACKLOG tiles to redraw, numbers must not grow old
const BACKLOG = 200;
const OFF_SCREEN_MS = 1500;
const FIRST_FRAME_MS = 150; // each frame lays out what it added: fewer frames fill a page of a thousand sooner
const FILLING = 50; // with more tiles than this still to be made, being complete comes before being smooth

export class Board {
  constructor({ element, template, fleet, sortEveryMs, holdMs, onDrawn }) {
    Object.assign(this, { element, template, fleet, sortEveryMs, holdMs, onDrawn });
    this.tiles = new Map();
    this.sort = "hurts";
    this.reversed = false;
    this.filter = "";
    this.wanted = "";
    this.shownCount = 0;
    this._ceiling = 1;
    this._sortedAt = -Infinity;
    this._pointerAt = -Infinity;
    this._frame = 0;
    this._mustOrder = false;
    this._mustName = false;
    this._sight = new IntersectionObserver((entries) => this._seen(entries), { rootMargin: "200px" });
    this._byElement = new WeakMap();
    this._watchPointer();
  }

  /** Change what is shown and how; takes effect in the next frame. */
  choose({ sort = this.sort, reversed = this.reversed, filter = this.filter, wanted = this.wanted }) {
    Object.assign(this, { sort, reversed, filter, wanted });
    this._pointerAt = -Infinity;
    this._mustOrder = true;
    this.schedule();
  }

  /** Redraw soon what is dirty. */
  schedule() {
    if (this._frame === 0) this._frame = requestAnimationFrame(() => this._draw());
  }

  /** Once a second: scale, ages and sparklines of the tiles on screen, and the order if it is due. */
  tick(now) {
    this._rescale();
    if (this.fleet.dirty.size > 0 || this.fleet.commands.size !== this.tiles.size || now - this._sortedAt >= this.sortEveryMs) this.schedule();
    for (const tile of this.tiles.values()) {
      const command = this.fleet.commands.get(tile.id);
      if (tile.visible && command !== undefined) tile.drawTime(command, this.fleet, now);
    }
  }

  /** Whether the order is kept still for the reader's sake. */
  isHeld(now) {
    return now - this._pointerAt < this.holdMs || this.element.contains(document.activeElement);
  }

  _draw() {
    this._frame = 0;
    const start = performance.now();
    const filling = this.fleet.commands.size - this.tiles.size > FILLING;
    const busy = this.fleet.dirty.size > BACKLOG;
    const deadline = start + (filling ? FIRST_FRAME_MS : busy ? BUSY_FRAME_MS : FRAME_MS);
    if (this.fleet.commands.size !== this.tiles.size) this._rescale();
    const finished = this._drawDirty(start, deadline);
    this._sweep();
    if (this._mustName && this.tiles.size === this.fleet.commands.size) this._cutNames();
    const due = start - this._sortedAt >= this.sortEveryMs;
    if (this._mustOrder || due) this._order(start);
    if (!finished) this.schedule();
    this.onDrawn();
  }

  /** Redraw dirty tiles until the deadline; false if some that are due had to wait. */
  _drawDirty(start, deadline) {
    const { dirty, commands } = this.fleet;
    const onScreen = [];
    const offScreen = [];
    for (const id of dirty) {
      const tile = this.tiles.get(id);
      if (tile === undefined || tile.visible) onScreen.push(id);
      else if (start - tile.drawnAt >= OFF_SCREEN_MS) offScreen.push(id);
    }
    for (const id of [...onScreen, ...offScreen]) {
      if (performance.now() > deadline) return false;
      dirty.delete(id);
      const command = commands.get(id);
      if (command === undefined) continue;
      const tile = this._tile(command);
      tile.draw(command, this._ceiling);
      tile.drawnAt = start;
    }
    return true;
  }

  _tile(command) {
    let tile = this.tiles.get(command.id);
    if (tile === undefined) {
      tile = new Tile(this.template, command);
      this.tiles.set(command.id, tile);
      this._byElement.set(tile.element, tile);
      tile.drawTime(command, this.fleet, performance.now());
      this._mustOrder = true;
      this._mustName = true;
    }
    return tile;
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
    }
  }

  _order(now) {
    const commands = [...this.tiles.keys()].map((id) => this.fleet.commands.get(id));
    const inOrder = this.isHeld(now)
      ? held(commands, [...this.element.children].map((e) => this._byElement.get(e).id))
      : ordered(commands, this.sort, this.reversed);
    const matches = matcher(this.filter, this.wanted);
    this.shownCount = 0;
    for (const command of inOrder) {
      const { element } = this.tiles.get(command.id);
      const shown = matches(command);
      if (element.hidden === shown) element.hidden = !shown;
      if (shown) this.shownCount += 1;
    }
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

  _seen(entries) {
    const now = performance.now();
    for (const { target, isIntersecting } of entries) {
      const tile = this._byElement.get(target);
      const command = this.fleet.commands.get(tile.id);
      tile.visible = isIntersecting;
      if (isIntersecting && command !== undefined) tile.drawTime(command, this.fleet, now);
    }
  }

  _watchPointer() {
    const here = () => { this._pointerAt = performance.now(); };
    const gone = () => { this._pointerAt = -Infinity; };
    this.element.addEventListener("pointermove", here, { passive: true });
    this.element.addEventListener("pointerdown", here, { passive: true });
    this.element.addEventListener("pointerleave", gone, { passive: true });
  }
}
