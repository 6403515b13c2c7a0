// What each field of a request may hold, as the service's own description has it: said once, there.

import { get } from "./api.js";

let schemas = null;

/** Read the description; without it the service alone says what is wrong. */
export async function learn() {
  schemas ??= (await get("/openapi.json")).components.schemas;
}

function flat(schema) {
  if (schema?.$ref) return flat(schemas[schema.$ref.split("/").pop()]);
  const other = schema?.anyOf?.find((one) => one.type !== "null");
  return other ? { ...schema, ...flat(other) } : schema ?? {};
}

/** The description of a field: `minimum`, `maximum`, `type`, `maxLength`, `items`, `pattern`, … */
export function limit(name, of = "GenerationAsked") {
  const found = flat(schemas?.[of]?.properties?.[name]);
  return { ...found, items: flat(found.items) };
}

/** Whether a request has a field; true as long as nobody knows. */
export function isField(name, of = "GenerationAsked") {
  return schemas === null || name in (schemas[of]?.properties ?? {});
}

/** What a field is when it is left out. */
export const standard = (name, of) => limit(name, of).default ?? null;

/** A number's bounds as attributes of an input. */
export function bounds(name, of) {
  const { minimum, exclusiveMinimum, maximum } = limit(name, of);
  const found = { min: minimum ?? exclusiveMinimum, max: maximum };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

/** What is wrong with a number; "": nothing. An empty field is the service's choice. */
export function numberFault(input, { minimum, exclusiveMinimum, maximum, type }, unit = "") {
  if (input.validity.badInput) return "This is no number.";
  if (input.value === "") return "";
  const value = Number(input.value), said = unit && ` ${unit}`;
  const low = minimum ?? exclusiveMinimum;
  const below = value < low || (exclusiveMinimum !== undefined && value === exclusiveMinimum);
  if (below || value > maximum) {
    const least = minimum === undefined ? `more than ${low}` : `at least ${low}`;
    return `It must be ${[low !== undefined && least, maximum !== undefined && `at most ${maximum}`].filter(Boolean).join(" and ")}${said}.`;
  }
  if (type === "integer" && !Number.isInteger(value)) return "It must be a whole number.";
  return "";
}

/** Control characters, which no text of a request may hold; lines and tabs may be. */
export function textFault(text, { maxLength } = {}) {
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text)) return "It holds a control character, which cannot be seen: type it again.";
  return [...text].length > maxLength ? `At most ${maxLength} characters.` : "";
}

/** How many takes can be chosen: 1 to 4, and whatever was asked for before. */
export const takeCounts = (asked) => [...new Set([1, 2, 3, 4, asked])].sort((a, b) => a - b);

export function takesFault(asked) {
  const { maximum } = limit("variations");
  return asked > maximum ? `At most ${maximum}.` : "";
}

const SEED_MOST = 2n ** 63n - 1n;

export function seedFault(text) {
  if (text === "") return "";
  if (!/^[0-9]{1,30}$/.test(text)) return "A seed has digits only.";
  return BigInt(text) > SEED_MOST ? `It must be at most ${SEED_MOST}.` : "";
}

export function listFault(items, { maxItems, items: one }) {
  const unseen = textFault(items.join(""));
  if (unseen) return unseen;
  if (items.length > maxItems) return `At most ${maxItems}, separated by commas; there are ${items.length}.`;
  const long = items.find((text) => text.length > one?.maxLength);
  if (long) return `“${long.slice(0, 20)}…” is longer than ${one.maxLength} characters.`;
  const odd = one?.pattern && items.find((text) => !new RegExp(one.pattern).test(text));
  return odd ? `“${odd.slice(0, 40)}” is no stem id: digits and the letters a to f, separated by commas.` : "";
}

const BEATS_MOST = 32, UNITS = [1, 2, 4, 8, 16];

export function metreFault(text) {
  if (text === "") return "";
  const [, beats, unit] = /^\s*(\d{1,3})\s*\/\s*(\d{1,3})\s*$/.exec(text) ?? [];
  const fits = beats >= 1 && beats <= BEATS_MOST && UNITS.includes(Number(unit));
  return fits ? "" : `“${text}” is not a time signature: such as 3/4, with ${UNITS.join(", ")} below.`;
}

/**
 * What is wrong with a part of a sound: `{at, says}`, `at` is "from" or "to"; null: nothing.
 *
 * @param {number|null} from seconds @param {number|null} to seconds, null: to its end
 * @param {{duration?: number, shortest: number, open?: boolean}} rule `open`: both may be empty,
 *   and the end alone
 */
export function regionFault(from, to, { duration = Infinity, shortest, open = false }) {
  if (from === null && to === null) return open ? null : { at: "from", says: "Say from where, in seconds." };
  if (from === null) return { at: "from", says: "Say from where as well, or clear the other field." };
  if (to === null && !open) return { at: "to", says: "Say to where as well." };
  const whole = Number.isFinite(duration) ? `, which lasts ${duration.toFixed(2)} s` : "";
  if (from < 0 || from > duration) return { at: "from", says: `It must be within the sound${whole}.` };
  const end = to ?? duration;
  if (end > duration + 0.001) return { at: "to", says: `It must be within the sound${whole}.` };
  if (end < from) return { at: "to", says: "It ends before it begins." };
  if (end - from < shortest - 1e-6) return { at: to === null ? "from" : "to", says: `It must be at least ${shortest} s long.` };
  return null;
}
