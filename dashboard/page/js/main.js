// Main: reads the configuration, ties streams, fleet, board and header together, and beats once a second.

import { Announcer } from "./announcer.js";
import { Board } from "./board.js";
import { Fleet } from "./fleet.js";
import { Header } from "./header.js";
import { Link } from "./link.js";
import { languageOf, preferred, say, speak, spoken, translate } from "./words.js";

const BEAT_MS = 1000;

async function configuration() {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const response = await fetch("config.json", { cache: "no-store" });
      if (response.ok) return await response.json();
    } catch { /* The server is away; the page asks again. */ }
    document.getElementById("show-connection").textContent = say("server_away");
    await new Promise((resolve) => { setTimeout(resolve, Math.min(10_000, 500 * 2 ** attempt)); });
  }
}

function open(streams, config, fleet, changed) {
  return streams.map(({ url, label }, index) => {
    const address = new URL(url, document.baseURI);
    if (address.origin !== location.origin) throw new Error(`${label} is of another origin`);
    return new Link({
      url: address.href,
      label,
      retry: { min: config.retry_min_ms, max: config.retry_max_ms },
      silenceMs: Math.max(4 * config.stale_after_ms, 10_000),
      onEvent: (data, now) => { fleet.apply(index, data, now); changed(); },
      onChange: () => changed(),
    });
  });
}

/** Speak what the address says, else the first of the reader's languages that the page knows. */
function chooseLanguage() {
  speak(languageOf(location.hash) || preferred(navigator.languages ?? []));
  document.documentElement.lang = spoken();
  translate(document);
  translate(document.getElementById("tile").content);
}

async function main() {
  chooseLanguage();
  const config = await configuration();
  const staleAfterMs = config.stale_after_ms;
  const fleet = new Fleet({ staleAfterMs, forgetAfterMs: config.forget_after_ms, labels: config.streams.map((s) => s.label) });
  const board = new Board({
    element: document.getElementById("board"),
    template: document.getElementById("tile"),
    fleet,
    sortEveryMs: config.sort_every_ms,
    holdMs: config.hold_ms,
    onDrawn: () => {},
  });
  const links = open(config.streams, config, fleet, () => board.schedule());
  const header = new Header({ board, fleet, links, staleAfterMs, title: config.title });
  const announcer = new Announcer(document.getElementById("announcer"));

  const beat = () => {
    const now = performance.now();
    for (const link of links) link.check(now);
    fleet.tick(now);
    board.tick(now);
    header.draw(now);
    announcer.tick(fleet.commands, now);
  };
  board.onDrawn = () => header.drawSoon(performance.now());
  for (const link of links) link.connect();
  setInterval(beat, Math.min(BEAT_MS, staleAfterMs / 2));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) beat(); });
  window.addEventListener("online", () => links.forEach((link) => link.state === "waiting" && link.connect()));
  beat();
}

void main();
