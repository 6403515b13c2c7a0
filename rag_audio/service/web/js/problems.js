// Problems in words: what is wrong, where, and the way out.

import { post } from "./api.js";
import { button, h, put } from "./dom.js";
import { fault, told } from "./terms.js";

/** A notice for a problem document, or for a job's `problem`. */
export function problemNotice(problem, ...actions) {
  const wait = problem.retryAfter ? ` Try again in ${problem.retryAfter} s.` : "";
  return h(
    "div",
    { class: "notice bad" },
    problem.errors?.length
      ? problem.errors.slice(0, 3).map((one) => h("p", {}, sentence(fault(one)), wait))
      : h("p", {}, sentence(problem.detail ?? problem.message), wait),
    problem.hint && h("p", { class: "muted" }, sentence(problem.hint)),
    actions.some(Boolean) && h("div", { class: "row" }, actions),
  );
}

/** A message of the service as a sentence of this page. */
export function sentence(text) {
  const said = told(text).replace(/^refused: /, "");
  return said.charAt(0).toUpperCase() + said.slice(1);
}

/** A text with what was matched in it marked. Spans count characters, not UTF-16 units. */
export function marked(text, matches) {
  const letters = [...text];
  const parts = [];
  let at = 0;
  for (const { span: [start, end] } of [...matches].sort((a, b) => a.span[0] - b.span[0])) {
    if (start < at) continue;
    parts.push(letters.slice(at, start).join(""), h("mark", {}, letters.slice(start, end).join("")));
    at = end;
  }
  return [...parts, letters.slice(at).join("")];
}

/** The prompt without what was matched, tidied. */
export function without(text, matches) {
  const letters = [...text];
  for (const { span: [start, end] } of [...matches].sort((a, b) => b.span[0] - a.span[0])) letters.splice(start, end - start);
  return letters.join("")
    .replace(/\b(in the style of|in the manner of|sounds? like|like|by|à la)\s*(?=[,.;]|$)/gi, "")
    .replace(/\s+/g, " ").replace(/\s+([,.;])/g, "$1").replace(/^[\s,;.]+|[\s,;]+$/g, "");
}

/**
 * A refusal, kindly: what was refused, and the nearest artists whose style may be asked for.
 *
 * `choose(prompt, artist)` takes an alternative; an artist of null asks without any.
 */
export function refusal(problem, prompt, artists, choose) {
  const matches = (problem.matches ?? []).filter((one) => one.span);
  const fits = matches.every((one) => [...prompt].slice(...one.span).join("") === one.text);
  const rest = fits ? without(prompt, matches) : prompt;
  const place = h("div", { class: "choices" });
  const box = h(
    "div",
    { class: "notice warn" },
    h("h3", {}, "This cannot be made as asked"),
    fits && matches.length > 0 && h("p", { class: "words" }, marked(prompt, matches)),
    h("p", {}, sentence(problem.detail ?? problem.message), "."),
    h("p", { class: "muted" }, sentence(problem.hint)),
    place,
  );
  const offers = artists.filter((one) => one.style);
  if (fits && matches.length && rest) {
    place.append(button("Ask without the name", () => choose(rest, null)));
  }
  if (offers.length && matches.length) nearest(rest, offers).then((found) => {
    place.prepend(...found.map((name, i) =>
      button(i === 0 ? `Nearest licensed: ${name}` : name, () => choose(rest || "something in this style", name), { class: i === 0 ? "main" : "" })));
  });
  return box;
}

/** Licensed artists, those with the stems nearest to the words first. */
async function nearest(words, offers) {
  const allowed = new Set(offers.map((one) => one.artist));
  let found = [];
  try {
    const answer = await post("/v1/search", { text: words || "music", limit: 24 });
    found = answer.references.map((one) => one.artist).filter((name) => allowed.has(name));
  } catch { /* the list alone will do */ }
  return [...new Set([...found, ...allowed])].slice(0, 3);
}

export function say(place, problem) {
  put(place, problemNotice(problem));
}
