// Sentences: what servers say in English, in the language of the page.
//
// Two servers send sentences for people: why a circuit is open (core/reasons.py of the library, and a gateway's workers and
// neighbours), and why a stream is away (upstream.py of the dashboard). Those that are known are read by their patterns and
// said anew; whatever else a server says stays as it is. In English each says what it said.

import { say } from "./words.js";

const SENTENCES = Object.entries({
  said_one_slow: /^1 call was slow$/,
  said_slow: /^(\d+) of (\d+) calls were slow$/,
  said_one_failed: /^1 call failed$/,
  said_failed: /^(\d+) of (\d+) calls failed$/,
  said_in_a_row: /^(\d+) calls in a row failed$/,
  said_in_a_row_over: /^(\d+) calls in a row failed, over (\d+) s$/,
  said_halted: /^its target asked its callers to wait$/,
  said_fleet: /^other instances see its target down$/,
  said_gateways: /^(\d+) of (\d+) gateways see it down$/,
  said_restored: /^it was open before the process was started anew$/,
  said_wait_elapsed: /^its wait is over, and a call came$/,
  said_probes_passed: /^its probes succeeded$/,
  said_probes_lost: /^its probes did not answer in time$/,
  said_forced_open: /^an operator forced it open, until it is released$/,
  said_forced_closed: /^an operator forced it closed, until it is released$/,
  said_disabled: /^an operator took its breaker away$/,
  said_released: /^an operator released it$/,
  said_reset: /^an operator reset it$/,
  said_by_hand: /^it was opened by hand$/,

  link_ended: /^the stream ended$/,
  said_no_answer: /^no answer within ([\d.]+) s$/,
  said_silent: /^the stream was silent for ([\d.]+) s$/,
  said_cannot_connect: /^cannot connect: (.+)$/,
  said_broke: /^the connection broke: (.+)$/,
  said_closed_early: /^the connection was closed before an answer$/,
  said_answered: /^the stream's server answered (\d+)$/,
  said_refused: /^Connection refused$/,
  said_reset_by_peer: /^Connection reset by peer$/,
});

/** What may stand behind a sentence, the last first. */
const TAILS = Object.entries({
  said_workers: / \(in (\d+) of (\d+) workers\)$/,
  said_probes_failed: /, and (\d+) probes? failed since$/,
});

/** A server's sentence in the language of the page. */
export function translated(text) {
  let head = text;
  let tail = "";
  for (const [name, pattern] of TAILS) {
    const found = pattern.exec(head);
    if (found === null) continue;
    tail = say(name, ...found.slice(1).map(Number)) + tail;
    head = head.slice(0, found.index);
  }
  for (const [name, pattern] of SENTENCES) {
    const found = pattern.exec(head);
    if (found !== null) return say(name, ...found.slice(1).map(partOf)) + tail;
  }
  return text;
}

function partOf(text) {
  return /^[\d.]+$/.test(text) ? Number(text) : translated(text);
}
