// What an earlier request said that a form has no control for: shown, sent, and taken out by hand.

import { button, h, put } from "./dom.js";
import { isField } from "./limits.js";

const WORDS = {
  auto_strength: "Strength chosen by scores and licenses", mix: "How references blend", free_time: "Free time", layers: "Layers", arrange: "Sections",
  webhook: "Called when it ends", weights: "Weights", references: "References", channels: "References give",
  negative_prompt: "Not", artist: "Artist", k: "References to find", exclude: "Never these stems", bpm: "Tempo", key: "Key",
  libraries: "Only these libraries", licenses: "Only these licenses",
  time_signature: "Time signature", steps: "Steps", guidance: "Guidance", territory: "Territory", audio_rights: "Rights", format: "File format",
};

/**
 * @param {object} rest by name of the field; entries are taken out of it
 * @param {string} of the request's name in the API's description
 * @param {(name: string) => void} changed after one was taken out
 */
export function keptFields(rest, of, changed) {
  const box = h("section", { class: "panel stack tight", "aria-label": "Kept from the earlier request" });
  function draw() {
    const names = Object.keys(rest).filter((name) => isField(name, of));
    box.hidden = names.length === 0;
    put(box, h("h2", {}, "Kept from the earlier request"),
      h("p", { class: "muted" }, "This form has no controls for these; they are sent as they were."),
      h("ul", {}, names.map((name) => {
        const label = WORDS[name] ?? name;
        return h("li", { class: "item" },
          h("div", {}, h("span", { class: "title" }, label), h("div", { class: "meta" }, h("span", {}, short(rest[name])))),
          button("Remove", () => { delete rest[name]; draw(); changed(name); }, { class: "plain", "aria-label": `Remove ${label}` }));
      })));
  }
  draw();
  return { box, draw };
}

function short(value) {
  const whole = typeof value === "string" ? value : value === true ? "yes" : JSON.stringify(value);
  const text = whole.replace(/\b([0-9a-f]{12})[0-9a-f]{12,}\b/g, "$1");
  return text.length > 120 ? `${text.slice(0, 119)}…` : text;
}
