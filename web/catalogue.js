// Texts in another language, by templates: `messages` has for each text that the code can say, with a numbered hole
// where a value goes, the same in the other language. A hole may hold a part of a message, which is translated too, or
// a value, which stays. {mask} and {LIVE_Edit} in a translation are the names that the page has for an input or a node.
const HOLE = /( ?)\{(\w+)\}( ?)/g;
const SIGN = /[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef\u201c\u201d]/; // of Chinese, with its punctuation
const CHARACTER = /[\u4e00-\u9fff]/;
const OTHER = /[\w'"<>]/;
const VALUE = String.raw`('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|.*?)`; // a value in quotes rather than a part of it
const WORD = /[a-z]{3,}/gi;

// A function that translates a text, line by line. `names`: of inputs and nodes, by their ids, as `namesOf` gives them.
export function translator(messages, names) {
  const templates = Object.entries(messages).map(compiled);
  // What is put together of parts is taken apart first; then what says more is tried first.
  templates.sort((a, b) => b.joins - a.joins || b.length - a.length);
  const line = (text) => translated(text, { templates, names, known: new Map() }).text;
  return (text) => text.replace(/^(\u26a0 )?(.*)$/gm, (_, mark, said) => (mark ?? "") + line(said));
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
    pattern: new RegExp(`^${escaped.join(VALUE)}$`, "s"),
    joins: /^\{0\}(,| and| or) \{1\}$/.test(english),
    length: said.join("").length,
    translation,
  };
}

// The translation that leaves the fewest words as they are, and how many those are. `known`: of parts seen before.
function translated(text, { templates, names, known }) {
  if (known.has(text)) return known.get(text);
  let best = { text, left: isQuoted(text) ? 0 : (text.match(WORD) ?? []).length };
  for (const { said, pattern, joins, translation } of templates) {
    if (!best.left) break;
    const found = said.every((part) => text.includes(part)) && pattern.exec(text);
    if (!found) continue;
    const named = (part) => (joins ? null : nameOf(part, names));
    const holes = found.slice(1).map((part) => named(part) ?? translated(part, { templates, names, known }));
    const left = holes.reduce((sum, hole) => sum + hole.left, 0);
    if (left < best.left && (!joins || !left)) best = { text: filled(translation, holes, names), left };
  }
  known.set(text, best);
  return best;
}

function isQuoted(text) {
  return /^(['"]).*\1$/s.test(text);
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
