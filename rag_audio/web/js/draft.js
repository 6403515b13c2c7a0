// What is being asked for: kept while one looks at other tabs, and over a reload.

import { store } from "./api.js";

const EMPTY = {
  prompt: "", artist: null, bpm: null, key: "", duration_s: 8, strength: null, takes: 2,
  seed: "", locked: false, tray: [], expert: {},
};

export const draft = { ...EMPTY, ...store.get("draft", {}) };

export function keep() {
  store.set("draft", draft);
}

/** Begin anew, or from the request of a job. */
export function reset(request) {
  Object.assign(draft, structuredClone(EMPTY));
  if (request) {
    for (const name of ["prompt", "bpm", "strength", "duration_s"]) draft[name] = request[name] ?? EMPTY[name];
    draft.artist = request.artist ?? null;
    draft.key = request.key ?? "";
    draft.takes = request.variations ?? 1;
    draft.seed = String(request.seed ?? "");
    draft.locked = true;
    for (const name of EXPERT) {
      const value = request[name];
      if (value !== undefined && value !== null && value.length !== 0) draft.expert[name] = Array.isArray(value) && !["channels", "enforce"].includes(name) ? value.join(name === "time_signature" ? "/" : ", ") : value;
    }
    draft.tray = (request.references ?? []).map((one, i) => {
      const window = typeof one === "string" ? { stem: one } : one;
      return { stem: window.stem, start_s: window.start_s, duration_s: window.duration_s, weight: request.weights?.[i] ?? 1 };
    });
    for (const kind of ["audio", "midi"]) {
      if (request[kind]) draft.tray.push({ upload: request[kind], kind, title: "an earlier upload", rights: request.audio_rights ?? "", as: kind === "audio" ? request.audio_as ?? "" : "" });
    }
  }
  keep();
}

export const EXPERT = [
  "negative_prompt", "steps", "guidance", "k", "channels", "enforce", "candidates", "time_signature", "bars",
  "instrumentation", "mood", "midi_instruments", "exclude", "territory", "format",
];
const LISTS = new Set(["instrumentation", "mood", "midi_instruments", "exclude"]);
const NUMBERS = new Set(["steps", "guidance", "k", "candidates", "bars"]);

/** Add a stem as a reference; says whether it was new. */
export function useAsReference(stem) {
  if (draft.tray.some((one) => one.stem === stem.stem)) return false;
  draft.tray.push({ stem: stem.stem, title: stem.title, weight: 1, from: stem.start_s });
  keep();
  return true;
}

/** The body of POST /v1/generations, as JSON text: the seed may exceed what a number holds. */
export function body() {
  const asked = { prompt: draft.prompt.trim(), variations: draft.takes };
  if (draft.artist) asked.artist = draft.artist;
  if (draft.key) asked.key = draft.key;
  for (const name of ["bpm", "duration_s", "strength"]) if (draft[name] !== null) asked[name] = draft[name];
  for (const [name, value] of Object.entries(draft.expert)) {
    if (value === "" || value === null || value === undefined || value.length === 0) continue;
    if (LISTS.has(name)) asked[name] = String(value).split(",").map((one) => one.trim()).filter(Boolean);
    else if (NUMBERS.has(name)) asked[name] = Number(value);
    else if (name === "time_signature") asked[name] = String(value).split("/").map(Number);
    else asked[name] = value;
  }
  if (asked.bars) delete asked.duration_s;
  const stems = draft.tray.filter((one) => one.stem);
  if (stems.length) {
    asked.references = stems.map((one) =>
      one.start_s == null ? one.stem : { stem: one.stem, start_s: one.start_s, ...(one.duration_s ? { duration_s: one.duration_s } : {}) });
    if (!asked.k && stems.some((one) => one.weight !== 1)) asked.weights = stems.map((one) => one.weight);
  }
  for (const one of draft.tray.filter((item) => item.upload)) {
    asked[one.kind] = one.upload;
    if (one.rights) asked.audio_rights = one.rights;
    if (one.kind === "audio" && one.as) asked.audio_as = one.as;
  }
  const text = JSON.stringify(asked);
  const seed = draft.locked && /^\d+$/.test(draft.seed) ? draft.seed : null;
  return seed === null ? text : `${text.slice(0, -1)},"seed":${seed}}`;
}
