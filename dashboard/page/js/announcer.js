// Announcer: tells a screen reader which circuits opened and closed, a sentence at a time.
//
// Changes are collected and said together, at most every INTERVAL_MS; a long list is summed up. The first sight of a
// command is no change.

const INTERVAL_MS = 3000;
const MOST = 4;

export class Announcer {
  constructor(element) {
    this.element = element;
    this._severity = new Map();
    this._saidAt = -Infinity;
    this._news = new Map();
  }

  /** Compare the commands with what was last seen. Call about once a second. */
  tick(commands, now) {
    for (const [key, { view, stale }] of commands) {
      if (stale) continue;
      const before = this._severity.get(key);
      if (before !== undefined && before !== view.severity) this._news.set(key, view.stateText);
      this._severity.set(key, view.severity);
    }
    for (const key of this._severity.keys()) {
      if (!commands.has(key)) this._severity.delete(key);
    }
    if (this._news.size > 0 && now - this._saidAt >= INTERVAL_MS) this._say(now);
  }

  _say(now) {
    const said = [...this._news].slice(0, MOST).map(([key, state]) => `${key.slice(0, 80)}: ${state}`);
    const more = this._news.size - said.length;
    this.element.textContent = said.join("; ") + (more > 0 ? `; and ${more} more` : "");
    this._news.clear();
    this._saidAt = now;
  }
}
