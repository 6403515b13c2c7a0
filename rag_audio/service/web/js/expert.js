// The expert part of Create, folded until it is wanted.

import { draft, stems } from "./draft.js";
import { field, h, put, select } from "./dom.js";
import { bounds, limit, listFault, metreFault, numberFault, textFault } from "./limits.js";
import { listed } from "./request.js";

/**
 * @param {(name: string) => void} changed after a field was set
 * @param {object} form its checks
 */
export function expert(changed, form) {
  const set = (name, value) => { draft.expert[name] = value; changed(name); };
  const text = (name, label, properties, why = () => "", hint = "") => {
    const input = h("input", { ...properties, value: draft.expert[name] ?? "", oninput: () => set(name, input.value.trim()) });
    return field(label, form.watch(input, () => why(input), () => `/${name}`), hint);
  };
  const number = (name, label, more = () => "", hint = "") =>
    text(name, label, { type: "number", ...bounds(name), step: limit(name).type === "integer" ? 1 : "any" }, (input) => numberFault(input, limit(name)) || more(input), hint);
  const list = (name, label, placeholder, hint) =>
    text(name, label, { placeholder }, (input) => listFault(listed(input.value), limit(name)), hint);
  const choice = (name, label, options) => {
    const input = select(options, draft.expert[name] ?? "", () => set(name, input.value));
    return field(label, form.watch(input, undefined, () => `/${name}`));
  };
  const enforce = (aim, label) => {
    const input = h("input", {
      type: "checkbox", checked: (draft.expert.enforce ?? []).includes(aim),
      onchange: () => set("enforce", [...(draft.expert.enforce ?? []).filter((one) => one !== aim), ...(input.checked ? [aim] : [])]),
    });
    return h("label", { class: "check" }, form.watch(input, undefined, () => "/enforce"), label);
  };
  const given = draft.expert.channels ?? [];
  const channels = select([["", "words and sound"], ["prompt", "words alone"], ["init", "sound alone"]], given.length === 1 ? given[0] : "", () => set("channels", channels.value ? [channels.value] : []));
  const alone = (input) => (input.value !== "" && !(draft.expert.enforce ?? []).length && !draft.rest.enforce ? "Candidates are measured only where tempo or key is put right, below." : "");
  const territory = text("territory", "Territory", { placeholder: "DE", maxlength: 2 }, (input) => (/^([A-Za-z]{2})?$/.test(input.value.trim()) ? "" : "Two letters, such as DE."));
  const find = number("k", "References to find", undefined, " ");
  const element = h(
    "details",
    { open: Object.values(draft.expert).some((value) => value && value.length !== 0) },
    h("summary", {}, "Expert"),
    h("div", { class: "stack" },
      text("negative_prompt", "Not", { maxlength: limit("negative_prompt").maxLength, placeholder: "vocals, distortion" }, (input) => textFault(input.value, limit("negative_prompt"))),
      h("div", { class: "grid" },
        number("steps", "Steps"), number("guidance", "Guidance"),
        find, field("References give", form.watch(channels, undefined, () => "/channels")),
        number("candidates", "Candidates a take", alone), number("bars", "Bars (in place of a duration)"),
        text("time_signature", "Time signature", { placeholder: "3/4" }, (input) => metreFault(input.value.trim())),
        choice("format", "File format", [["", "WAV"], ["flac", "FLAC"], ["mp3", "MP3"], ["ogg", "OGG"]]),
        territory),
      h("fieldset", { class: "row" }, h("legend", {}, h("span", { class: "legend" }, "Measure and put right")), enforce("tempo", "tempo"), enforce("key", "key")),
      list("instrumentation", "Instruments", "rhodes, upright bass", "separated by commas"),
      list("mood", "Mood", "calm, warm"),
      list("midi_instruments", "Instruments that play MIDI", "Electric Piano 1"),
      list("exclude", "Never these stems", "ids, separated by commas")),
  );
  /** How many are found beside the tray: those in it count among them. */
  function count() {
    const named = stems().length, k = Number(draft.expert.k || 0);
    const more = Math.max(0, k - named);
    put(find.querySelector(".hint"), named === 0 || !draft.expert.k
      ? "empty: 3, or none beside those in the tray"
      : `those in the tray count: ${more === 0 ? "none is found" : `${more} ${more === 1 ? "is" : "are"} found`} beside ${named === 1 ? "it" : "them"}`);
  }
  count();
  return { element, count };
}
