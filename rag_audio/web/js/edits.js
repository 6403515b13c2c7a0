// Make part of a take again, go on from it, or vary it.

import { post, store } from "./api.js";
import { button, field, h, put, slider } from "./dom.js";
import { problemNotice } from "./problems.js";

export function edits(job, parts) {
  const limit = parts.duration;
  const number = (label) => field(label, h("input", { type: "number", min: 0, max: limit, step: 0.1, oninput: typed }));
  const from = number("From, s"), to = number("To, s");
  const start = from.querySelector("input"), end = to.querySelector("input");
  const words = h("input", { maxlength: 2000, placeholder: "the same words" });
  const said = h("div", { "aria-live": "polite" });
  const again = button("Make this part again", () => ask({ kind: "inpaint", regions: [parts.region] }), { class: "main", disabled: true });
  const longer = slider("Add", { min: 1, max: 30, step: 0.5, value: 4, unit: "s" });
  const strength = slider("Vary by", { min: 0.05, max: 1, step: 0.05, value: 0.4 });

  function typed() {
    if (start.value !== "" && end.value !== "") parts.setRegion(Number(start.value), Number(end.value));
  }
  parts.onregion((region) => {
    again.disabled = !region;
    if (document.activeElement !== start) start.value = region ? region[0].toFixed(2) : "";
    if (document.activeElement !== end) end.value = region ? region[1].toFixed(2) : "";
  });

  async function ask(what) {
    put(said, h("p", { class: "muted" }, "Asking…"));
    const body = { generation: job.id, take: parts.take + 1, ...what };
    if (words.value.trim()) body.prompt = words.value.trim();
    try {
      const made = await post("/v1/edits", body);
      store.set("last", made.id);
      location.hash = `#/result/${made.id}`;
    } catch (problem) {
      put(said, problemNotice(problem));
    }
  }

  return h("section", { class: "panel stack", "aria-label": "Change this take" },
    h("h2", {}, "Change this take"),
    h("div", { class: "row end" }, from, to, again, button("Clear", () => parts.setRegion(0, 0), { class: "plain" })),
    field("Words for the change", words),
    h("div", { class: "grid" },
      h("div", { class: "stack tight" }, longer, button("Go on at the end", () => ask({ kind: "extend", right_s: longer.value ?? 4 }))),
      h("div", { class: "stack tight" }, strength, button("Make a variation", () => ask({ kind: "vary", strength: strength.value ?? 0.4 })))),
    said);
}
