// Names: a long name is cut in its middle, since names of one house begin alike and differ at their end. Names that end
// alike too differ in between: they are cut before the place where they do.
//
// A name is put in as two pieces; the style sheet cuts the first when there is no room (its end becomes an ellipsis) and the
// second last of all. Put together, the pieces are the name, letter by letter; a screen reader is told it whole.

const WHOLE = 20; // up to here a name is one piece
const TAIL = { least: 10, most: 22 };
const JOINS = /[@.\/:_\-\s]/;
const LONGEST_TYPE = 40;
const CLINGS = /^[\p{M}\u200d\ufe0f\u{1f3fb}-\u{1f3ff}]/u; // to the letter before it

/** The two pieces of a name: [head, tail], cut at `place`, or near the end, at a separator if there is one in reach. */
export function pieces(name, place = 0) {
  if (name.length <= WHOLE) return [name, ""];
  if (place > 0) return [name.slice(0, place), name.slice(place)];
  const from = name.length - TAIL.most;
  let at = -1;
  for (let i = from; i <= name.length - TAIL.least && at < 0; i += 1) if (JOINS.test(name[i])) at = i;
  if (at < 0) at = name.length - 16;
  while (at > 0 && insideLetter(name, at)) at -= 1;
  return [name.slice(0, at), name.slice(at)];
}

/** Where to cut the names that look alike when they are cut near their ends: Map from name to place. */
export function places(names) {
  const alike = new Map();
  for (const name of names) {
    const [, tail] = pieces(name);
    if (tail !== "") push(alike, tail, name);
  }
  const found = new Map();
  for (const [tail, group] of alike) {
    group.sort();
    group.forEach((name, i) => {
      const differs = Math.max(common(name, group[i - 1] ?? ""), common(name, group[i + 1] ?? ""));
      const place = beginning(name, differs);
      if (group.length > 1 && place > 0 && differs < name.length - tail.length) found.set(name, place);
    });
  }
  return found;
}

/** Show a name in an element, cut at `place` or in the middle where there is no room; the whole of it is its title. */
export function showName(element, name, place = 0) {
  element.dataset.cut = place > 0 ? "early" : "late";
  element.replaceChildren(...pieces(name, place).filter((piece) => piece !== "").map((piece, i) => {
    const span = document.createElement("span");
    span.className = i === 0 ? "name-head" : "name-tail";
    span.textContent = piece;
    return span;
  }));
  element.title = name;
}

/** The name of an exception's type: of a long one the package and the class, without the modules between them. */
export function typeName(type) {
  if (type.length <= LONGEST_TYPE || !type.includes(".")) return type;
  return `${type.slice(0, type.indexOf("."))}…${type.slice(type.lastIndexOf(".") + 1)}`;
}

function insideLetter(name, at) {
  const low = name.charCodeAt(at);
  if (low >= 0xdc00 && low <= 0xdfff) return true;
  return CLINGS.test(name.slice(at)) || name[at - 1] === "\u200d";
}

function push(groups, key, value) {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, [value]);
  else group.push(value);
}

function common(a, b) {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i += 1;
  return i;
}

/** The beginning of the word in which `at` is; at most 12 letters before it. */
function beginning(name, at) {
  let from = at;
  while (from > 0 && at - from < 12 && !JOINS.test(name[from - 1])) from -= 1;
  if (at - from === 12) from = at;
  while (from > 0 && insideLetter(name, from)) from -= 1;
  return from;
}
