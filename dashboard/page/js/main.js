// Main: reads the configuration, ties streams, fleet, board and header together, and beats once a second.

import { Announcer } from "./announcer.js";
import { Board } from "./board.js";
import { Carrier } from "./carrier.js";
import { Fleet } from "./fleet.js";
import { Header } from "./header.js";
import { Link } from "./link.js";
import { languageOf, preferred, say, speak, spoken, translate } from "./words.js";

const BEAT_MS = 1000;
const SLEPT_MS = 10_000; // by so much more the time of day has gone on than the clock that stands still in a sleep

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

/** The streams' links, and what must be looked after: a link, or the carrier of several. */
function open(streams, config, fleet, changed) {
  const retry = { min: config.retry_min_ms, max: config.retry_max_ms };
  const times = { retry, silenceMs: Math.max(4 * config.stale_after_ms, 10_000) };
  const about = (label, index) => ({
    label,
    onEvent: (data, now) => { fleet.apply(index, data, now); changed(); },
    onChange: () => changed(),
    expects: () => fleet.hears(index),
  });
  const numbers = streams.map(({ url }) => Number(/^stream\/(\d+)$/.exec(url)?.[1] ?? NaN));
  const relayed = numbers.filter((number) => !Number.isNaN(number));
  const carrier = relayed.length < 2 ? null : new Carrier({
    url: new URL("streams", document.baseURI).href,
    ...times,
    streams: new Map(relayed.map((number) => [number, about(streams[number].label, number)])),
  });
  const carried = new Map(relayed.map((number, i) => [number, carrier?.links[i]]));
  const links = streams.map(({ url, label }, index) => {
    const address = new URL(url, document.baseURI);
    if (address.origin !== location.origin) throw new Error(`${label} is of another origin`);
    return carried.get(numbers[index]) ?? new Link({ url: address.href, ...times, ...about(label, index) });
  });
  const alone = links.filter((link) => link instanceof Link);
  return { links, connections: carrier === null ? alone : [carrier, ...alone] };
}

/** Speak what the address says, else the first of the reader's languages that the page knows. */
function chooseLanguage() {
  speak(languageOf(location.hash) || preferred(navigator.languages ?? []));
  document.documentElement.lang = spoken();
  translate(document);
  translate(document.getElementById("tile").content);
}

/** The blanks between the elements of the template are for its authors: a third of what a tile would hold. */
function stripIndentation(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const blanks = [];
  while (walker.nextNode()) if (/^\s*\n\s*$/.test(walker.currentNode.data)) blanks.push(walker.currentNode);
  for (const blank of blanks) blank.remove();
}

async function main() {
  chooseLanguage();
  const config = await configuration();
  const staleAfterMs = config.stale_after_ms;
  const fleet = new Fleet({ staleAfterMs, forgetAfterMs: config.forget_after_ms, labels: config.streams.map((s) => s.label) });
  stripIndentation(document.getElementById("tile").content);
  const board = new Board({
    element: document.getElementById("board"),
    template: document.getElementById("tile"),
    fleet,
    sortEveryMs: config.sort_every_ms,
    holdMs: config.hold_ms,
    onDrawn: () => {},
  });
  const { links, connections } = open(config.streams, config, fleet, () => board.schedule());
  const header = new Header({ board, fleet, links, connections, staleAfterMs, title: config.title });
  const announcer = new Announcer(document.getElementById("announcer"));

  let ahead = Date.now() - performance.now();
  const beat = () => {
    const now = performance.now();
    const slept = Date.now() - now - ahead;
    ahead += slept;
    if (slept > SLEPT_MS) for (const connection of connections) connection.again(); // what they said last is long ago
    for (const connection of connections) connection.check(now);
    fleet.tick(now);
    board.tick(now);
    header.draw(now);
    announcer.tick(fleet.commands, header.connection, now);
  };
  board.onDrawn = () => header.drawSoon(performance.now());
  for (const connection of connections) connection.connect();
  setInterval(beat, Math.min(BEAT_MS, staleAfterMs / 2));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) beat(); });
  window.addEventListener("online", () => links.forEach((link) => link.state === "waiting" && link.connect()));
  beat();
}

void main();
