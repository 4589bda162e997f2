// Announcer: tells a screen reader which circuits opened and closed, and which commands fail behind a closed one, a
// sentence at a time.
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
  }

  /** Compare the commands with what was last seen. Call about once a second. */
  tick(commands, now) {
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
    if (this._news.size > 0 && now - this._saidAt >= INTERVAL_MS) this._say(now);
  }

  _judge(command, before) {
    const condition = conditionOf(command);
    return condition === "" && before === "failing" && errorSeverity(command.view.errorRate) > 0 ? before : condition;
  }

  _say(now) {
    const said = [...this._news].slice(0, MOST).map(([key, state]) => `${key.slice(0, 80)}: ${state}`);
    const more = this._news.size - said.length;
    this.element.textContent = said.join("; ") + (more > 0 ? `; ${say("and_more", more)}` : "");
    this._news.clear();
    this._saidAt = now;
  }
}

function sentence(view, condition) {
  return condition === "failing" ? `${view.stateText}, ${say("errors_of", percentText(view.errorRate))}` : view.stateText;
}
