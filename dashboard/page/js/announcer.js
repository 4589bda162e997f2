// Announcer: tells a screen reader which circuits opened and closed, which commands fail behind a closed one, and what has
// become of the streams, a sentence at a time. It is the only part of the page that speaks by itself: a number that grows
// every second would be read out every second.
//
// Changes are collected and said together, at most every INTERVAL_MS; a long list is summed up. The first sight of a
// command is no change. A command fails from the error rate that makes it red until one that makes it green.

import { conditionOf } from "./ordering.js";
import { errorSeverity, percentText } from "./scales.js";
import { say } from "./words.js";

const INTERVAL_MS = 3000;
const MOST = 4;

export class Announcer {
  constructor(element) {
    this.element = element;
    this._condition = new Map();
    this._saidAt = -Infinity;
    this._news = new Map();
    this._heard = "";
    this._connection = [];
  }

  /** Compare the commands, and the {level, text} of the connection, with what was last seen. Call about once a second. */
  tick(commands, { level, text }, now) {
    const heard = { connecting: "", live: "", stale: level }[level] ?? text; // how old the data are is no news
    if (heard !== this._heard) this._connection = [text];
    this._heard = heard;
    for (const [key, command] of commands) {
      if (command.stale) continue;
      const before = this._condition.get(key);
      const condition = this._judge(command, before);
      if (before !== undefined && before !== condition) this._news.set(key, sentence(command.view, condition));
      this._condition.set(key, condition);
    }
    for (const key of this._condition.keys()) {
      if (!commands.has(key)) this._condition.delete(key);
    }
    if (this._news.size + this._connection.length > 0 && now - this._saidAt >= INTERVAL_MS) this._say(now);
  }

  _judge(command, before) {
    const condition = conditionOf(command);
    return condition === "" && before === "failing" && errorSeverity(command.view.errorRate) > 0 ? before : condition;
  }

  _say(now) {
    const said = [...this._news].slice(0, MOST).map(([key, state]) => `${key.slice(0, 80)}: ${state}`);
    const more = this._news.size - said.length;
    this.element.textContent = [...this._connection, ...said, ...(more > 0 ? [say("and_more", more)] : [])].join("; ");
    this._news.clear();
    this._connection = [];
    this._saidAt = now;
  }
}

function sentence(view, condition) {
  return condition === "failing" ? `${view.stateText}, ${say("errors_of", percentText(view.errorRate))}` : view.stateText;
}
