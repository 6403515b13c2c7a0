// Index a library (admin): which, how far, and what was taken or refused.

import { get, post } from "./api.js";
import { field, h, put, select } from "./dom.js";
import { problemNotice } from "./problems.js";
import { asking } from "./sending.js";

const EVERY_MS = 700;

/** @param {() => void} done when the library may have changed */
export function indexing(done) {
  const form = h("div", {});
  const said = h("div", { class: "stack tight", "aria-live": "polite" });
  let began = false;
  look(true);

  async function look(first = false) {
    try {
      const state = await get("/v1/indexing");
      if (first) {
        const { libraries } = await get("/v1/libraries").catch(() => ({ libraries: [] }));
        const names = [...libraries.map((one) => [one.id, `${one.name} (again)`]), ...state.folders.map((one) => [one, `folder ${one}`])];
        drawForm(names);
      }
      draw(state);
      if (state.state === "running") setTimeout(() => form.isConnected && look(), EVERY_MS);
      else if (began) { began = false; done(); }
    } catch (problem) {
      put(said, problemNotice(problem));
    }
  }

  function drawForm(names) {
    if (!names.length) {
      return put(form, h("p", { class: "muted" }, "No folder of libraries is set up here: the operator of this service can name one, or index there."));
    }
    const choice = select(names, names[0][0]);
    put(form, h("div", { class: "stack tight" }, field("Library", choice), asking("Index", async () => {
      try {
        began = true;
        draw(await post("/v1/indexing", { name: choice.value }));
        setTimeout(look, EVERY_MS);
      } catch (problem) { put(said, problemNotice(problem)); }
    })));
  }

  function draw(state) {
    if (state.state === "running") {
      const bar = h("progress", { max: Math.max(1, state.files), "aria-label": "Indexing" });
      if (state.files) bar.value = state.done;
      put(said, h("p", {}, state.files ? `${state.done} of ${state.files} files` : "Looking at the folder…"), bar);
    } else if (state.state === "failed") {
      put(said, problemNotice({ detail: state.problem, hint: "correct it and index again; nothing was lost" }));
    } else if (state.state === "done") {
      const { indexed, updated, skipped, pruned, segments, rejected, rejections, noticed, notices, passed_over } = state.report;
      put(said, h("p", {}, `${state.name}: ${indexed} new, ${updated} changed, ${skipped} as before, ${pruned} removed; ${segments} segments.`),
        rejections > 0 && h("details", {}, h("summary", {}, `${rejections} refused`), h("ul", {}, rejected.map((one) => h("li", { class: "muted" }, `${one.path}: ${one.reason}`)))),
        notices > 0 && h("details", {}, h("summary", {}, `${notices} noticed`), h("ul", {}, noticed.map((one) => h("li", { class: "muted" }, `${one.path}: ${one.text}`)))),
        ...passed_over.map((line) => h("p", { class: "muted" }, line)));
    } else put(said);
  }

  return h("section", { class: "panel stack tight", "aria-label": "Index a library" }, h("h2", {}, "Index a library"), form, said);
}
