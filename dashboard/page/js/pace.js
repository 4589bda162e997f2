// Pace: how often the page draws. A frame may be dear (a slow machine, a board of thousands), so after each one the page
// rests at least as long as drawing it took, style, layout and paint included: input and streams get their share.

const REST_MS = 100; // numbers that change more often cannot be read
const LONGEST_REST_MS = 2000;

export class Pace {
  /** `draw` is called in an animation frame, never twice without a rest between. */
  constructor(draw) {
    this.draw = draw;
    this._frame = 0;
    this._timer = 0;
    this._restUntil = -Infinity;
  }

  /** Draw once the rest is over. */
  soon() {
    if (this._frame !== 0 || this._timer !== 0) return;
    const rest = this._restUntil - performance.now();
    if (rest <= 0) this.now();
    else this._timer = setTimeout(() => this.now(), rest);
  }

  /** Draw in the next frame: somebody waits for it. */
  now() {
    clearTimeout(this._timer);
    this._timer = 0;
    if (this._frame === 0) this._frame = requestAnimationFrame(() => this._run());
  }

  _run() {
    this._frame = 0;
    const start = performance.now();
    this._restUntil = start + REST_MS;
    this.draw(start);
    setTimeout(() => { // the browser has painted by then
      const end = performance.now();
      this._restUntil = end + Math.min(LONGEST_REST_MS, Math.max(REST_MS, end - start));
    });
  }
}
