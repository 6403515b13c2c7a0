// Ledger: which outputs a source went into; revoke a source after seeing what that affects.

import { app } from "../app.js";
import { get, post, query } from "../api.js";
import { button, field, h, percent, put, select, state, table, when } from "../dom.js";
import { problemNotice } from "../problems.js";
import { asking, guarded } from "../sending.js";

const PAGE = 50;

export function show(place) {
  let over = false;
  const list = h("div", { "aria-live": "polite" });
  const by = select([["", "All outputs"], ["artist", "by artist"], ["license", "by license"], ["holder", "by holder"], ["stem", "by stem id"]], "", () => { words.disabled = !by.value; if (!by.value) { words.value = ""; load(); } });
  const words = h("input", { type: "search", maxlength: 200, disabled: true, list: "ledger-names" });
  const names = h("datalist", { id: "ledger-names" });
  const count = h("span", { class: "muted" });
  const form = h("form", { class: "row end", onsubmit: (event) => { event.preventDefault(); load(); } }, field("Outputs", by), field("Source", words), h("button", {}, "Search"), names);
  put(place,
    h("div", { class: "page-head" }, h("h1", {}, "Ledger"), count),
    h("div", { class: "columns wide-left" },
      h("section", { class: "panel stack", "aria-label": "Outputs" }, form, list),
      h("div", { class: "stack" }, checkpoint(), app.may("admin") && revoking(() => load()))));
  load();
  get("/v1/artists").then(({ artists }) => put(names, artists.map((one) => h("option", { value: one.artist })))).catch(() => {});

  async function load(before = null, rows = []) {
    const asked = by.value ? words.value.trim() : "";
    try {
      const page = await get(`/v1/outputs${query({ [by.value || "artist"]: asked, before, limit: PAGE, count: before === null })}`);
      if (over) return;
      const all = [...rows, ...page.outputs];
      if (before === null) count.textContent = `${page.total} ${page.total === 1 ? "output" : "outputs"}${asked ? ` of ${asked}` : ""}`;
      put(list, all.length ? outputs(all) : state("No output", by.value ? "This source went into none." : "What is generated is written down here, for ever."),
        page.next && button("Show more", () => load(page.next, all)));
    } catch (problem) {
      if (!over) put(list, problemNotice(problem));
    }
  }

  return () => { over = true; };
}

function outputs(rows) {
  return table("Outputs", ["Output", "Made", "Model", "Sources", ""], rows.map((one) => {
    const more = h("tr", { hidden: true });
    const open = button("Details", async () => {
      more.hidden = !more.hidden;
      open.setAttribute("aria-expanded", String(!more.hidden));
      if (more.hidden || more.childElementCount) return;
      const cell = h("td", { colspan: 5 });
      put(more, cell);
      try {
        const found = await get(`/v1/outputs/${one.output}`);
        put(cell, details(found));
      } catch (problem) { put(cell, problemNotice(problem)); }
    }, { "aria-expanded": "false", "aria-label": `Details of output ${one.output}` });
    return [h("tr", {},
      h("td", {}, h("b", {}, one.output)), h("td", {}, when(one.created)), h("td", {}, one.model),
      h("td", { class: "wide" }, [...new Set(one.sources.map((source) => `${source.title || source.path} (${source.artist})`))].join(", ") || "none"),
      h("td", { class: "actions" }, open)), more];
  }));
}

function details({ seq, leaf_hash, erased, record }) {
  return h("dl", {}, [
    ["Entry", String(seq)], ["Hash", leaf_hash], ["Words", erased ? "erased on request" : record.plan?.enriched_prompt ?? record.request?.prompt],
    ["Seed", String(record.seed)], ["Model id", record.model_id], ["Samples, SHA-256", record.pcm_sha256],
    ["Files", Object.keys(record.files ?? {}).join(", ")],
    ["Influence", record.sources.map((one) => `${one.reference.stem.title}: words ${percent(one.used.prompt)}, sound ${percent(one.used.init)}`).join("; ")],
  ].filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", { class: /hash|SHA|id/i.test(name) ? "mono" : "" }, value)]));
}

function checkpoint() {
  const text = h("pre", { tabindex: 0, "aria-label": "Signed checkpoint" }, "…");
  get("/v1/ledger/checkpoint", { raw: true }).then((answer) => answer.text()).then((said) => { text.textContent = said; }).catch((problem) => { text.textContent = problem.message; });
  return h("section", { class: "panel stack tight", "aria-label": "Checkpoint" }, h("h2", {}, "Signed checkpoint"),
    h("p", { class: "muted" }, "Keep a copy: anyone who has one can prove that the log was not rewritten."), text,
    h("div", {}, h("a", { class: "button", href: "/v1/ledger/checkpoint", download: "rag-audio-checkpoint.txt" }, "Save")));
}

function revoking(done) {
  const of = select([["artist", "Artist"], ["stem", "Stem id"], ["license", "License"]], "artist", () => put(answer));
  const target = h("input", { maxlength: 200, required: true, list: "ledger-names", oninput: () => put(answer) });
  const reason = h("input", { maxlength: 2000, placeholder: "withdrawn by the holder" });
  const answer = h("div", { class: "stack tight", "aria-live": "polite" });
  const body = (preview) => ({ of: of.value, target: target.value.trim(), reason: reason.value.trim(), preview });
  const show = h("button", {}, "Show what it affects");
  const look = guarded(() => [show], async () => {
    try {
      const found = await post("/v1/revocations", body(true));
      const sure = asking("Revoke now", async () => {
        try {
          await post("/v1/revocations", body(false));
          put(answer, h("div", { class: "notice" }, `Revoked: ${found.target}. It is no longer used; what it went into is listed under Outputs.`));
          done();
        } catch (problem) { put(answer, problemNotice(problem)); }
      }, { class: "main" });
      put(answer, h("div", { class: "notice warn" },
        h("p", {}, `This stops ${found.stems.length} ${found.stems.length === 1 ? "stem" : "stems"} from being used, at once. ${found.outputs_total} ${found.outputs_total === 1 ? "output was" : "outputs were"} made with them.`),
        h("details", {}, h("summary", {}, "Which"), h("p", {}, `Stems: ${found.stems.map((one) => one.title || one.path).join(", ") || "none"}`), h("p", {}, `Outputs: ${found.outputs.map((one) => one.output).join(", ") || "none"}`)),
        h("div", { class: "row" }, sure, button("Leave it", () => put(answer)))));
    } catch (problem) {
      put(answer, problemNotice(problem));
    }
  });
  return h("form", { class: "panel stack", "aria-label": "Revoke", onsubmit: (event) => { event.preventDefault(); look(); } },
    h("h2", {}, "Revoke a source"), field("What", of), field("Which", target), field("Why", reason),
    h("div", {}, show), answer);
}
