// Between the draft and the body of POST /v1/generations, both ways.

import { draft, begin, brought, EXPERT, CHOICES, fresh, stated, stems } from "./draft.js";
import { isField, standard } from "./limits.js";

const LISTS = new Set(["instrumentation", "mood", "midi_instruments", "exclude"]);
const NUMBERS = new Set(["steps", "guidance", "k", "candidates", "bars"]);

/** The items of a text that is separated by commas. */
export const listed = (text) => String(text ?? "").split(",").map((one) => one.trim()).filter(Boolean);

/** Whether weights of the references say something: one reference alone has all there is. */
export function weighs(of = draft) {
  const named = stems(of).length;
  return named > 1 || (named === 1 && Number(of.expert.k || 0) > 1);
}

/** The body of POST /v1/generations; the seed as digits, since it may exceed what a number holds. */
export function asked(of = draft) {
  const form = { prompt: of.prompt.trim(), variations: of.takes };
  if (of.artist) form.artist = of.artist;
  if (of.key) form.key = of.key;
  for (const name of ["bpm", "duration_s", "strength"]) if (of[name] !== null) form[name] = of[name];
  for (const name of EXPERT) {
    const text = of.expert[name];
    if (text === undefined || text === null || text.length === 0) continue;
    if (CHOICES[name]) form[name] = [...text];
    else if (LISTS.has(name)) { const items = listed(text); if (items.length) form[name] = items; }
    else if (NUMBERS.has(name)) form[name] = Number(text);
    else if (name === "time_signature") form[name] = text.split("/").map(Number);
    else form[name] = text;
  }
  // The bars say how long it is; Create shows then that the duration is not used.
  if (form.bars !== undefined) delete form.duration_s;
  const named = stems(of);
  if (named.length) {
    form.references = named.map(reference);
    if (weighs(of) && named.some((one) => one.weight !== null)) form.weights = named.map((one) => one.weight ?? 1);
  }
  for (const one of brought(of)) {
    form[one.kind] = one.upload;
    if (one.kind === "audio" && one.as) form.audio_as = one.as;
  }
  // A request has one statement for both files: it is sent where it was made of both.
  if (stated(of)) form.audio_rights = stated(of);
  if (of.locked && of.seed !== "") form.seed = String(BigInt(of.seed));
  return { ...kept(of.rest), ...form };
}

export const kept = (rest, of) => Object.fromEntries(Object.entries(rest).filter(([name]) => isField(name, of)));

/** To the billionth of a second: 3.3 − 1.1 is 2.2. */
const tidy = (seconds) => Number(seconds.toFixed(9));

function reference(one) {
  if (one.start_s === null) return one.stem;
  return { stem: one.stem, start_s: one.start_s, ...(one.end_s === null ? {} : { duration_s: tidy(one.end_s - one.start_s) }) };
}

/** Put the request of a job into the draft: all of it, none of what was there before. */
export function reuse(request) {
  begin(draftOf(request));
}

/** A draft that asks for the same; what the form has no control for is in its `rest`. */
export function draftOf(request) {
  const made = { ...fresh(), duration_s: null, takes: request.variations ?? 1, prompt: request.prompt ?? "" };
  for (const name of ["bpm", "strength", "duration_s", "artist"]) made[name] = request[name] ?? null;
  made.key = request.key ?? "";
  made.seed = String(request.seed ?? "");
  made.locked = made.seed !== "";
  for (const name of EXPERT) {
    const value = request[name] ?? "";
    if (value.length === 0 || same(value, standard(name))) continue;
    made.expert[name] = CHOICES[name] ? [...value] : Array.isArray(value) ? value.join(name === "time_signature" ? "/" : ", ") : String(value);
  }
  made.tray = (request.references ?? []).map((one, i) => {
    const part = typeof one === "string" ? { stem: one } : one;
    const start_s = part.start_s ?? null;
    return {
      stem: part.stem, title: undefined, start_s, weight: request.weights?.[i] ?? null,
      end_s: start_s === null || part.duration_s == null ? null : tidy(start_s + part.duration_s),
    };
  });
  for (const kind of ["audio", "midi"]) {
    if (request[kind]) made.tray.push({ upload: request[kind], kind, title: "an earlier upload", rights: request.audio_rights ?? "", as: kind === "audio" ? request.audio_as ?? "" : "" });
  }
  // What the form would say otherwise is kept as it is, and the form is silent about it; what is
  // silent now may take others along, such as the weights of references.
  for (let before = -1; Object.keys(made.rest).length > before;) {
    before = Object.keys(made.rest).length;
    made.rest = { ...made.rest, ...unsaid(request, asked({ ...made, rest: {} }), "GenerationAsked") };
    for (const name of ALWAYS) delete made.rest[name];
    for (const name of Object.keys(made.rest)) silence(made, name);
  }
  return made;
}

/** What every form says. */
const ALWAYS = ["prompt", "variations"];

/** Let a form say nothing of a field. */
function silence(made, name) {
  delete made.expert[name];
  if (["bpm", "strength", "duration_s", "artist"].includes(name)) made[name] = null;
  else if (name === "key") made.key = "";
  else if (name === "references") made.tray = made.tray.filter((one) => one.upload);
  else if (name === "weights") for (const one of stems(made)) one.weight = null;
  else if (name === "audio" || name === "midi") made.tray = made.tray.filter((one) => one.kind !== name);
  else if (name === "audio_rights") for (const one of made.tray) { if (one.upload) one.rights = ""; }
  else if (name === "audio_as") for (const one of made.tray) { if (one.upload) one.as = ""; }
}

/** What a request says and a body does not say alike. */
export function unsaid(request, said, of) {
  return structuredClone(Object.fromEntries(Object.entries(request).filter(([name, value]) =>
    value !== null && value !== undefined && !same(value, said[name]) && !(said[name] === undefined && same(value, standard(name, of))))));
}

/** Whether two values of JSON are the same; a seed may be digits or a number. */
export function same(one, other) {
  if (typeof one !== "object" || typeof other !== "object" || !one || !other) {
    return one === other || (one != null && other != null && String(one) === String(other));
  }
  const names = Object.keys(one);
  return Array.isArray(one) === Array.isArray(other) && names.length === Object.keys(other).length
    && names.every((name) => same(one[name], other[name]));
}
