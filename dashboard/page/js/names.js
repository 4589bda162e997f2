// Names: a long name is cut in its middle, since names of one house begin alike and differ at their end.
//
// The name is put in as two pieces; the style sheet cuts the first when there is no room (its end becomes an ellipsis) and
// never the second. Put together, the pieces are the name, letter by letter, for everybody who reads the page's text.

const WHOLE = 20; // up to here a name is one piece
const TAIL = { least: 10, most: 22 };
const JOINS = /[.\/:_\-\s]/;
const CLINGS = /^[\p{M}\u200d\ufe0f\u{1f3fb}-\u{1f3ff}]/u; // to the letter before it

/** The two pieces of a name: [head, tail]; the tail begins at a separator if there is one in reach. */
export function pieces(name) {
  if (name.length <= WHOLE) return [name, ""];
  const from = name.length - TAIL.most;
  let at = -1;
  for (let i = from; i <= name.length - TAIL.least && at < 0; i += 1) if (JOINS.test(name[i])) at = i;
  if (at < 0) at = name.length - 16;
  while (at > 0 && insideLetter(name, at)) at -= 1;
  return [name.slice(0, at), name.slice(at)];
}

/** Show a name in an element, cut in the middle where there is no room; the whole of it is its title. */
export function showName(element, name) {
  element.replaceChildren(...pieces(name).filter((piece) => piece !== "").map((piece, i) => {
    const span = document.createElement("span");
    span.className = i === 0 ? "name-head" : "name-tail";
    span.textContent = piece;
    return span;
  }));
  element.title = name;
}

function insideLetter(name, at) {
  const low = name.charCodeAt(at);
  if (low >= 0xdc00 && low <= 0xdfff) return true;
  return CLINGS.test(name.slice(at)) || name[at - 1] === "\u200d";
}
