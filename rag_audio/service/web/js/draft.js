// What is being asked for: kept while one looks at other tabs, and over a reload.

import { store } from "./api.js";
import { textFault } from "./limits.js";

/** A draft of which nothing was said yet; each call makes its own. */
export function fresh() {
  return {
    prompt: "", artist: null, bpm: null, key: "", duration_s: 8, strength: null, takes: 2,
    seed: "", locked: false, tray: [], expert: {}, rest: {},
  };
}

export const EXPERT = [
  "negative_prompt", "steps", "guidance", "k", "channels", "enforce", "candidates", "time_signature", "bars",
  "instrumentation", "mood", "midi_instruments", "exclude", "territory", "format",
];
export const CHOICES = { channels: ["prompt", "init"], enforce: ["tempo", "key"] };
const STEM = /^[0-9A-Fa-f]{1,64}$/, UPLOAD = /^[0-9a-f]{32}$/;

const isText = (value) => typeof value === "string" && value.length <= 4000 && !textFault(value);
const isNumber = (value) => Number.isFinite(value);
const orNull = (fits) => (value) => value === null || fits(value);
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** What a stored value must be to be taken; all else is as if nobody had said it. */
export const FITS = {
  prompt: isText, artist: orNull((value) => isText(value) && value !== ""), key: isText, seed: isText,
  bpm: orNull(isNumber), duration_s: orNull(isNumber), strength: orNull(isNumber),
  takes: (value) => Number.isInteger(value) && value >= 1 && value <= 64, locked: (value) => typeof value === "boolean",
};

/** A draft from whatever was stored: of another version, broken, or written by hand. */
export function restored(stored) {
  const made = fresh();
  if (!isObject(stored)) return made;
  for (const [name, fits] of Object.entries(FITS)) {
    if (Object.hasOwn(stored, name) && fits(stored[name])) made[name] = stored[name];
  }
  const expert = isObject(stored.expert) ? stored.expert : {};
  for (const name of EXPERT) {
    const value = isNumber(expert[name]) ? String(expert[name]) : expert[name];
    if (CHOICES[name]) {
      if (Array.isArray(value)) made.expert[name] = CHOICES[name].filter((one) => value.includes(one));
    } else if (isText(value)) made.expert[name] = value;
  }
  for (const one of Array.isArray(stored.tray) ? stored.tray : []) {
    const item = isObject(one) ? trayItem(one) : null;
    // One sound and one score can be brought, so there is one of each.
    if (item && (item.stem || !made.tray.some((other) => other.kind === item.kind))) made.tray.push(item);
  }
  if (isObject(stored.rest)) made.rest = structuredClone(stored.rest);
  return made;
}

function trayItem(one) {
  const title = isText(one.title) ? one.title : undefined;
  if (isText(one.stem) && STEM.test(one.stem)) {
    const at = (value) => (isNumber(value) ? value : null);
    const start_s = at(one.start_s);
    // Before, a part was stored with its duration.
    const end_s = at(one.end_s) ?? (start_s !== null && isNumber(one.duration_s) ? start_s + one.duration_s : null);
    return { stem: one.stem, title, start_s, end_s, weight: isNumber(one.weight) && one.weight >= 0 ? one.weight : null };
  }
  if (isText(one.upload) && UPLOAD.test(one.upload) && ["audio", "midi"].includes(one.kind)) {
    return {
      upload: one.upload, kind: one.kind, title: title ?? "an earlier upload",
      rights: ["own", "licensed"].includes(one.rights) ? one.rights : "",
      as: one.kind === "audio" && ["melody", "search"].includes(one.as) ? one.as : "",
    };
  }
  return null;
}

export const draft = restored(store.own("draft") ?? store.get("draft"));

let round = 0;

/** Changes whenever the draft begins anew: what was under way before belongs to another draft. */
export const turn = () => round;

export function keep() {
  store.set("draft", draft);
  store.setOwn("draft", draft);
}

/** Begin anew: with nothing, or with all that another draft says. */
export function begin(values = fresh()) {
  round += 1;
  for (const name of Object.keys(draft)) delete draft[name];
  Object.assign(draft, values);
  keep();
}

export const stems = (of = draft) => of.tray.filter((one) => one.stem);
export const brought = (of = draft) => of.tray.filter((one) => one.upload);

/** What is stated of all that was brought; "": nothing, or not the same of each. */
export function stated(of = draft) {
  const rights = new Set(brought(of).map((one) => one.rights));
  return rights.size === 1 ? [...rights][0] : "";
}

/** Add a stem as a reference; says whether it was new. */
export function useAsReference(stem) {
  if (draft.tray.some((one) => one.stem === stem.stem)) return false;
  draft.tray.push({ stem: stem.stem, title: stem.title, start_s: null, end_s: null, weight: null });
  trayChanged();
  return true;
}

/** Put an upload into the tray, in place of one of its kind. What was said of another is not said of it. */
export function bringIn(item) {
  draft.tray = [...draft.tray.filter((one) => one.kind !== item.kind), item];
  for (const name of [item.kind, "audio_rights", ...(item.kind === "audio" ? ["audio_as"] : [])]) delete draft.rest[name];
  keep();
}

export function takeOut(item) {
  draft.tray = draft.tray.filter((other) => other !== item);
  trayChanged();
}

/** References and weights of an earlier request that are kept as they were fit no other tray. */
function trayChanged() {
  for (const name of ["weights", "references"]) delete draft.rest[name];
  keep();
}
