// The expert part of Create, folded until it is wanted.

import { draft, keep } from "./draft.js";
import { field, h, select } from "./dom.js";

export function expert(changed) {
  const set = (name, value) => { draft.expert[name] = value; keep(); changed(); };
  const text = (name, label, properties, hint) => {
    const input = h("input", { ...properties, value: draft.expert[name] ?? "", onchange: () => set(name, input.value) });
    return field(label, input, hint);
  };
  const number = (name, label, min, max, step = 1) => text(name, label, { type: "number", min, max, step });
  const choice = (name, label, options) => {
    const input = select(options, draft.expert[name] ?? "", () => set(name, input.value));
    return field(label, input);
  };
  const enforce = (aim, label) => {
    const input = h("input", {
      type: "checkbox", checked: (draft.expert.enforce ?? []).includes(aim),
      onchange: () => set("enforce", [...(draft.expert.enforce ?? []).filter((one) => one !== aim), ...(input.checked ? [aim] : [])]),
    });
    return h("label", { class: "check" }, input, label);
  };
  const channels = select([["", "words and sound"], ["prompt", "words alone"], ["init", "sound alone"]], (draft.expert.channels ?? [])[0] ?? "", () => set("channels", channels.value ? [channels.value] : null));
  return h(
    "details",
    { open: Object.values(draft.expert).some((value) => value && value.length !== 0) },
    h("summary", {}, "Expert"),
    h("div", { class: "stack" },
      text("negative_prompt", "Not", { maxlength: 2000, placeholder: "vocals, distortion" }),
      h("div", { class: "grid" },
        number("steps", "Steps", 1, 250), number("guidance", "Guidance", 0, 50, 0.1),
        number("k", "References to find", 0, 16), field("References give", channels),
        number("candidates", "Candidates a take", 1, 8), number("bars", "Bars (in place of a duration)", 1, 512),
        text("time_signature", "Time signature", { placeholder: "3/4", pattern: "\\d{1,2}/\\d{1,2}" }),
        choice("format", "File format", [["", "WAV"], ["flac", "FLAC"], ["mp3", "MP3"], ["ogg", "OGG"]]),
        text("territory", "Territory", { placeholder: "DE", maxlength: 2, pattern: "[A-Za-z]{2}" })),
      h("fieldset", { class: "row" }, h("legend", {}, h("span", { class: "legend" }, "Measure and put right")), enforce("tempo", "tempo"), enforce("key", "key")),
      text("instrumentation", "Instruments", { placeholder: "rhodes, upright bass" }, "separated by commas"),
      text("mood", "Mood", { placeholder: "calm, warm" }),
      text("midi_instruments", "Instruments that play MIDI", { placeholder: "Electric Piano 1" }),
      text("exclude", "Never these stems", { placeholder: "ids, separated by commas" })),
  );
}
