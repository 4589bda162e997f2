// Link: one stream's connection, kept up for as long as the page lives.
//
// Theory of operation. The stream is read with fetch rather than EventSource: a refusal's status and sentence can be
// shown, and the waiting between attempts is ours (backoff.js), not the browser's. A link is always in one state:
//
//   connecting -> live (first bytes) -> waiting (ended, failed, or silent too long) -> connecting -> ...
//
// The number of failures falls back to zero only when an event arrives, so a server that accepts and hangs up is not
// hammered. A connection that stays silent, without even a ping, for `silenceMs` is given up: a vanished network leaves
// no other sign.

import { retryDelay } from "./backoff.js";
import { translated } from "./sentences.js";
import { EventStreamParser } from "./sse.js";
import { say } from "./words.js";

const WORK_MS = 20; // after so much of reading what waits already, the page gets its turn

/** What is known of one stream, by whichever connection it comes. */
export class StreamState {
  /**
   * `onEvent(data, now)` gets each event's data, `onChange()` tells that `state`, `reason` or `retryAt` changed, and
   * `expects()` whether it has commands to tell of.
   */
  constructor({ label, onEvent, onChange, expects }) {
    Object.assign(this, { label, onEvent, onChange, expects });
    this.state = "connecting";
    this.reason = "";
    this.failures = 0;
    this.retryAt = 0;
    this.lastEventAt = null;
    this.startedAt = performance.now();
    this.oversized = 0;
  }
}

export class Link extends StreamState {
  constructor({ url, retry, silenceMs, ...stream }) {
    super(stream);
    Object.assign(this, { url, retry, silenceMs });
    this._abort = null;
    this._timer = 0;
    this._hurried = false;
    this._lastByteAt = 0;
  }

  /** Connect now; also cuts a wait short. */
  connect() {
    clearTimeout(this._timer);
    if (this._abort !== null) return;
    this._become("connecting", this.reason);
    void this._run();
  }

  /** Connect anew, also if there is a connection. */
  again() {
    if (this._abort === null) return this.connect();
    this._hurried = true;
    this._abort.abort(new Error(""));
    this._become("connecting", this.reason);
  }

  /** Give a silent connection up. Call about once a second. */
  check(now) {
    if (this._abort !== null && now - this._lastByteAt >= this.silenceMs) {
      this._abort.abort(new Error(say("link_silent")));
    }
  }

  async _run() {
    const abort = new AbortController();
    this._abort = abort;
    this._lastByteAt = performance.now();
    let reason;
    try {
      reason = await this._read(abort.signal);
    } catch (error) {
      const aborted = abort.signal.aborted;
      reason = aborted ? abort.signal.reason.message : error instanceof TypeError ? say("link_unreachable") : String(error);
    }
    this._abort = null;
    if (this._hurried) {
      this._hurried = false;
      this.connect();
      return;
    }
    this.failures += 1;
    const delay = retryDelay(this.failures, Math.random(), this.retry);
    this.retryAt = performance.now() + delay;
    this._timer = setTimeout(() => this.connect(), delay);
    this._become("waiting", reason);
  }

  /** Read until the end; returns why it ended. */
  async _read(signal) {
    const response = await fetch(this.url, { signal, cache: "no-store", redirect: "error", headers: { Accept: "text/event-stream" } });
    if (!response.ok) return await refusal(response);
    if (!(response.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
      await response.body?.cancel();
      return say("link_no_stream");
    }
    const parser = new EventStreamParser();
    const oversizedBefore = this.oversized;
    let rested = performance.now();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return say("link_ended");
      const now = performance.now();
      this._lastByteAt = now;
      if (this.state !== "live") this._become("live", "");
      for (const data of parser.feed(value)) {
        this.failures = 0;
        this.lastEventAt = now;
        this.onEvent(data, now);
      }
      this.oversized = oversizedBefore + parser.oversized;
      if (now - rested >= WORK_MS) {
        await aPause();
        rested = performance.now();
      }
    }
  }

  _become(state, reason) {
    this.state = state;
    this.reason = reason;
    this.onChange();
  }
}

function aPause() {
  return new Promise((resolve) => { setTimeout(resolve); });
}

/** A refused request in words: its status, and the first line of the server's explanation. */
async function refusal(response) {
  const type = response.headers.get("content-type") ?? "";
  const body = type.startsWith("text/plain") ? await response.text() : (await response.body?.cancel(), "");
  const line = body.split("\n")[0].slice(0, 200);
  return line === "" ? say("link_answered", response.status) : `${translated(line)} (${response.status})`;
}
