// Successors: which process came in the place of which. Pure.
//
// An instance is named `host:pid`. A restarted process has the same host and another number, on the same stream. It is the
// successor of one that has fallen silent if it was first heard after the other was last heard. A busy page reads both in
// one piece and at one time: then their order in the stream decides, unless both were new, as a page's first piece has
// them. Each replaces one: of two workers that died while one came back, one is still missing. Only silence tells that a
// process is gone: a worker that is added beside living ones replaces none.

const PROCESS = /^(.+):\d+$/s;

/** Drop the silent reporters of a command that have a successor, which takes over how often they were restarted; true if any. */
export function replaceRestarted(reporters, now, staleAfterMs) {
  const silent = [...reporters].filter(([, { at }]) => now - at >= staleAfterMs).sort(([, a], [, b]) => a.at - b.at);
  let changed = false;
  for (const [id, gone] of silent) {
    const successor = successorOf(gone, reporters);
    if (successor === null) continue;
    successor.restarts += gone.restarts + 1;
    successor.restartedAt = Math.max(successor.firstAt, gone.restartedAt);
    successor.replaces = true;
    changed = reporters.delete(id);
  }
  return changed;
}

/** What of this happened lately: {times, agoMs}; null if nothing. */
export function restartsOf(reporters, now, withinMs) {
  const found = { times: 0, agoMs: Infinity };
  for (const { restarts, restartedAt } of reporters.values()) {
    if (restarts === 0 || now - restartedAt >= withinMs) continue;
    found.times += restarts;
    found.agoMs = Math.min(found.agoMs, now - restartedAt);
  }
  return found.times > 0 ? found : null;
}

/** The first that came after it, and has not replaced another. */
function successorOf(gone, reporters) {
  const host = hostOf(gone);
  if (host === null) return null;
  let first = null;
  for (const one of reporters.values()) {
    const follows = one.stream === gone.stream && cameAfter(one, gone) && !one.replaces && hostOf(one) === host;
    if (follows && (first === null || one.firstAt < first.firstAt)) first = one;
  }
  return first;
}

function cameAfter(one, gone) {
  if (one.firstAt !== gone.at) return one.firstAt > gone.at;
  return one.firstHeard > gone.lastHeard && gone.firstAt < gone.at;
}

function hostOf({ reading }) {
  return PROCESS.exec(reading.instance)?.[1] ?? null;
}
