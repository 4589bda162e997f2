// Status: what the streams' connections amount to, in words. Pure.

import { ageText, durationText } from "./scales.js";
import { translated } from "./sentences.js";
import { say } from "./words.js";

/**
 * The whole page's condition: {level, text}. Levels: "connecting", "live", "partial" (some stream is silent), "stale" (all
 * are).
 */
export function overall(links, now, staleAfterMs) {
  const silent = links.filter((link) => isSilent(link, now, staleAfterMs));
  if (silent.length === 0) {
    const waiting = links.filter((link) => link.lastEventAt === null && link.state !== "live").length;
    if (waiting === links.length) return { level: "connecting", text: say("connecting") };
    return { level: "live", text: links.length === 1 ? say("live") : say("live_streams", links.length) };
  }
  if (silent.length < links.length) {
    return { level: "partial", text: say("streams_silent", silent.length, links.length) };
  }
  const last = Math.max(...links.map((link) => link.lastEventAt ?? -Infinity));
  const age = last === -Infinity ? say("no_data_yet") : say("stale_page", ageText((now - last) / 1000));
  return { level: "stale", text: age };
}

/** One silent stream in a sentence; null if it is well. */
export function complaint(link, now, staleAfterMs) {
  if (!isSilent(link, now, staleAfterMs)) return null;
  const since = link.lastEventAt === null ? say("data_never") : say("data_none_for", ageText((now - link.lastEventAt) / 1000));
  const reason = link.reason === "" ? "" : ` (${translated(link.reason)})`;
  return `${link.label}: ${since}${reason}; ${next(link, now)}.`;
}

function next(link, now) {
  if (link.state === "waiting" && link.retryAt > now) return say("trying_again_in", durationText((link.retryAt - now) / 1000));
  return link.state === "live" ? say("connected_waiting") : say("link_connecting");
}

/** Nothing arrived lately, or the first attempt already failed. A process without commands has nothing to say. */
function isSilent(link, now, staleAfterMs) {
  if (link.lastEventAt !== null && now - link.lastEventAt < staleAfterMs) return false;
  if (link.state === "live" && !link.expects()) return false;
  if (link.lastEventAt === null) return link.failures > 0 || now - link.startedAt >= staleAfterMs;
  return true;
}
