// Texts in another language, by templates: `messages` has for each text that the code can say, with a numbered hole
// where a value goes, the same in the other language. A hole may hold a part of a message, which is translated too, or
// a value, which stays. {mask} and {LIVE_Edit} in a translation are the names that the page has for an input or a node.
const HOLE = /( ?)\{(\w+)\}( ?)/g;
const SIGN = /[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef\u201c\u201d]/; // of Chinese, with its punctuation
const CHARACTER = /[\u4e00-\u9fff]/;
const OTHER = /[\w'"<>]/;
const WORD = /[a-z]{2,}/gi;
// A value in quotes, and what stands in brackets, belong together: nothing in them parts one hole from the next.
const QUOTED = String.raw`(?<!\w)(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")`;
const WHOLE = String.raw`${QUOTED}|\((?:[^()]|\([^()]*\))*\)|\[[^[\]]*\]|\{[^{}]*\}`;
const PIECE = `(?:${WHOLE}|(?!${WHOLE}).)`;
const HOLDS = [`(${PIECE}*?)`, `(${PIECE}*)`, "(.*?)"]; // as little as it can, as much, and where a value was cut short

// A function that translates a text. `names`: of inputs and nodes, by their ids, as `namesOf` gives them.
export function translator(messages, names) {
  const templates = Object.entries(messages).map(compiled);
  // What is put together of parts is taken apart first; then whole sentences, then what says more.
  templates.sort((a, b) => b.joins - a.joins || b.parted - a.parted || b.length - a.length);
  return (text) => translated(text, { templates, names, known: new Map() }).text;
}

// Ids of nodes and inputs, to the names that `defs`, a locale's nodeDefs, has for them; an input of a choice has two.
export function namesOf(defs) {
  const names = {};
  for (const [id, { display_name, inputs = {} }] of Object.entries(defs)) {
    names[id] = display_name;
    for (const [input, { name }] of Object.entries(inputs)) {
      names[input] ??= name;
      const choice = Object.keys(inputs).find((other) => input.startsWith(`${other}_`));
      if (choice) names[input.slice(choice.length + 1)] ??= name;
    }
  }
  return names;
}

// A text without holes, but for names.
export function withNames(text, names) {
  return text.replace(HOLE, (_, before, id, after) => `${before}\u201c${names[id] ?? id}\u201d${after}`);
}

function compiled([english, translation]) {
  const said = english.split(/\{\d+\}/);
  const escaped = said.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return {
    said,
    patterns: HOLDS.map((hole) => new RegExp(`^${escaped.join(hole)}$`, "s")),
    parted: english.includes("; "),
    joins: /^\{0\}(,| and| or) \{1\}$/.test(english),
    length: said.join("").length,
    translation,
  };
}

// The translation that leaves the fewest words as they are, and how many those are. `known`: of parts seen before.
function translated(text, { templates, names, known }) {
  if (known.has(text)) return known.get(text);
  const words = text.replace(new RegExp(QUOTED, "g"), "").match(WORD) ?? [];
  let best = { text, left: words.length };
  for (const { said, patterns, joins, translation } of templates) {
    if (!said.every((part) => text.includes(part))) continue;
    for (const pattern of patterns) {
      if (!best.left) break;
      const found = pattern.exec(text);
      if (!found) continue;
      const named = (part) => (joins ? null : nameOf(part, names));
      const holes = found.slice(1).map((part) => named(part) ?? translated(part, { templates, names, known }));
      const left = holes.reduce((sum, hole) => sum + hole.left, 0);
      if (left < best.left && (!joins || !left)) best = { text: filled(translation, holes, names), left };
    }
  }
  known.set(text, best);
  return best;
}

function nameOf(text, names) {
  const id = text.replace(/[ .]/g, "_");
  return Object.hasOwn(names, id) ? { name: names[id], id: text, left: 0 } : null;
}

function filled(translation, holes, names) {
  const head = translation.indexOf("\uff1a"); // the colon after the input that a message is about
  return translation.replace(HOLE, (whole, before, key, after, at) => {
    const { text, name, id } = holes[key] ?? { name: names[key] ?? key, id: key };
    const put = text ?? (at < head ? `${name}\uff08${id}\uff09` : `\u201c${name}\u201d`);
    const left = translation.slice(0, at);
    const right = translation.slice(at + whole.length);
    return blank(left, before, put) + put + blank(put, after, right);
  });
}

// What is between two texts: a blank between Chinese and what is none, as it stands written beside punctuation.
function blank(left, written, right) {
  const [a, b] = [left.at(-1) ?? "", right.at(0) ?? ""];
  if (SIGN.test(a) && SIGN.test(b)) return "";
  if ((CHARACTER.test(a) && OTHER.test(b)) || (OTHER.test(a) && CHARACTER.test(b))) return " ";
  return written;
}
