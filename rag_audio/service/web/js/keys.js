// Keys that work everywhere but where one types. WCAG 2.1.4: they can be turned off.

import { store } from "./api.js";
import { button, h } from "./dom.js";

const KEYS = [
  ["Space", "play or pause"],
  ["1–4", "hear take 1 to 4, without stopping"],
  ["L", "loop the selected region"],
  ["[ and ]", "start and end of the region at the playhead"],
  ["?", "this list"],
];

const isBoolean = (value) => typeof value === "boolean";

/** What the shown tab does with keys: a function of a key that says whether it took it. */
export const keyboard = { take: null };

export function installKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!store.get("keys", true, isBoolean) || document.querySelector("dialog[open]")) return;
    const types = event.target.closest?.("input, textarea, select, audio, [contenteditable]");
    if (types && !(types.type === "range" || types.type === "checkbox")) return;
    if (event.key === " " && event.target.closest?.("button, a, summary, input")) return;
    if (event.key === "?") {
      showKeys();
      event.preventDefault();
    } else if (keyboard.take?.(event.key)) event.preventDefault();
  });
}

export function showKeys() {
  const on = h("input", { type: "checkbox", checked: store.get("keys", true, isBoolean), onchange: () => store.set("keys", on.checked) });
  const dialog = h(
    "dialog",
    { "aria-labelledby": "keys-title", onclose: () => dialog.remove() },
    h("div", { class: "stack" },
      h("h2", { id: "keys-title" }, "Keys"),
      h("dl", {}, KEYS.map(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)])),
      h("label", { class: "check" }, on, "Use single keys"),
      h("div", {}, button("Close", () => dialog.close(), { class: "main" }))),
  );
  document.body.append(dialog);
  dialog.showModal();
}
