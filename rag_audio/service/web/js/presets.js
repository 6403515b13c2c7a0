// Presets of the settings: ours, and those that were saved on this device.

import { store } from "./api.js";
import { button, field, h, select, toast } from "./dom.js";
import { draft, FITS } from "./draft.js";

const OURS = {
  "Quick sketch": { duration_s: 4, takes: 1, strength: null, steps: "8" },
  "Standard": { duration_s: 8, takes: 2, strength: null, steps: "" },
  "Close to the references": { duration_s: 8, takes: 2, strength: 0.25, steps: "" },
  "Free": { duration_s: 8, takes: 4, strength: 0.8, steps: "" },
};
const NAMES = ["duration_s", "takes", "strength", "bpm", "key"];
const MOST = 100;

/** The saved ones; what was stored and is none is left out. */
function own() {
  const stored = store.get("presets", {});
  const found = new Map();
  if (typeof stored !== "object" || Array.isArray(stored)) return found;
  for (const [name, one] of Object.entries(stored).slice(0, MOST)) {
    if (typeof one !== "object" || !one) continue;
    const preset = Object.fromEntries(NAMES.filter((key) => Object.hasOwn(one, key) && FITS[key](one[key])).map((key) => [key, one[key]]));
    if (["string", "number"].includes(typeof one.steps)) preset.steps = String(one.steps);
    found.set(name.slice(0, 40), preset);
  }
  return found;
}

/** @param {() => void} changed when one was taken @param {() => void} redraw when one was saved */
export function presets(changed, redraw) {
  const all = new Map([...Object.entries(OURS), ...own()]);
  const name = h("input", { maxlength: 40, placeholder: "name", "aria-label": "Name of the new preset" });
  const choice = select([["", "Choose…"], ...[...all.keys()].map((one) => [one, one])], "", () => {
    const preset = all.get(choice.value);
    if (!preset) return;
    const { steps, ...plain } = preset;
    Object.assign(draft, plain);
    for (const name of Object.keys(preset)) delete draft.rest[name];
    if (steps !== undefined) draft.expert.steps = steps;
    toast(`Preset: ${choice.value}`);
    changed();
  });
  const saveIt = button("Save these", () => {
    const title = name.value.trim();
    if (!title) return name.focus();
    const saved = Object.fromEntries(NAMES.map((key) => [key, draft[key]]));
    store.set("presets", Object.fromEntries([...own(), [title, { ...saved, steps: draft.expert.steps ?? "" }]]));
    toast("Preset saved on this device");
    redraw();
  });
  return h("div", { class: "row end" }, field("Preset", choice), h("div", { class: "row" }, name, saveIt));
}
