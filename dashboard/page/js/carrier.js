// Carrier: all relayed streams over one connection, since a browser opens six to a server and no more; other tabs need some.
//
// The dashboard's server opens the streams and opens them again after an end; it tells what becomes of each (carrier.py).
// Here each stream is a `Carried`, which is the state of a stream as a Link is. While the carrier itself is away, all of them are.

import { Link, StreamState } from "./link.js";

const HEAD = /^(\d+)(!?) /;

export class Carrier {
  /** `streams` maps the number of each stream to {label, onEvent, onChange, expects}. */
  constructor({ url, retry, silenceMs, streams }) {
    this._link = new Link({
      url, label: "", retry, silenceMs, expects: () => false,
      onEvent: (data, now) => this._deliver(data, now),
      onChange: () => this._spread(),
    });
    this._carried = new Map([...streams].map(([number, stream]) => [number, new Carried(this, stream)]));
  }

  get links() {
    return [...this._carried.values()];
  }

  get oversized() {
    return this._link.oversized;
  }

  connect() {
    this._link.connect();
  }

  again() {
    this._link.again();
  }

  check(now) {
    this._link.check(now);
  }

  _deliver(data, now) {
    const head = HEAD.exec(data);
    const carried = head === null ? undefined : this._carried.get(Number(head[1]));
    if (carried === undefined) return;
    const text = data.slice(head[0].length);
    if (head[2] === "!") carried.told(JSON.parse(text), now);
    else carried.hear(text, now);
  }

  _spread() {
    const { state, reason, retryAt } = this._link;
    if (state === "live") return; // of each stream the server says so
    for (const carried of this._carried.values()) carried.become(state, reason, retryAt);
  }
}

/** A stream of the carrier. An event of it that is too long is nobody's: the carrier counts it. */
class Carried extends StreamState {
  constructor(carrier, stream) {
    super(stream);
    this.carrier = carrier;
  }

  connect() {
    this.carrier.again();
  }

  hear(text, now) {
    this.failures = 0;
    this.lastEventAt = now;
    this.onEvent(text, now);
  }

  told({ state, reason = "", retry_in_ms: wait = 0 }, now) {
    this.become(state, reason, now + wait);
  }

  become(state, reason, retryAt) {
    if (state === "waiting") this.failures += 1;
    if (state === "connecting" && reason === "") reason = this.reason;
    Object.assign(this, { state, reason, retryAt });
    this.onChange();
  }
}
