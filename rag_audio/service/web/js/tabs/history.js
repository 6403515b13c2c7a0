// History: one's jobs, newest first.

import { get, query, store } from "../api.js";
import { button, field, h, put, select, state, table, when } from "../dom.js";
import { problemNotice } from "../problems.js";
import { STATES, stateBadge } from "../words.js";

export function show(place) {
  let over = false, timer = null;
  const wanted = { state: "", kind: "" };
  const list = h("div", {});
  const choice = (name, label, options) => {
    const input = select([["", "Any"], ...options], "", () => { wanted[name] = input.value; load(); });
    return field(label, input);
  };
  put(place,
    h("div", { class: "page-head" }, h("h1", {}, "History")),
    h("section", { class: "panel stack", "aria-label": "Jobs" },
      h("div", { class: "grid" }, choice("state", "State", Object.entries(STATES)), choice("kind", "Kind", [["generation", "generated"], ["edit", "edited"]])), list));
  load();

  async function load(before = null, rows = []) {
    clearTimeout(timer);
    try {
      const page = await get(`/v1/generations${query({ ...wanted, before, limit: 50 })}`);
      if (over) return;
      draw([...rows, ...page.generations], page.next);
      // What still runs is looked at again.
      if (!before && page.generations.some((one) => ["queued", "running"].includes(one.state))) timer = setTimeout(load, 3000);
    } catch (problem) {
      if (over) return;
      put(list, problemNotice(problem));
      if (problem.status === 0) timer = setTimeout(load, 3000);
    }
  }

  function draw(rows, next) {
    if (!rows.length) {
      return put(list, state(wanted.state || wanted.kind ? "Nothing fits" : "Nothing made yet", "What you generate is kept here.", h("a", { class: "button main", href: "#/create" }, "Create")));
    }
    put(list, table("Jobs", ["When", "Words", "State", "Takes", "Artist", "Made of"], rows.map((job) => h("tr", {},
      h("td", {}, when(job.created)),
      h("td", {}, h("a", { href: `#/result/${job.id}`, onclick: () => store.set("last", job.id) }, job.prompt || "the same words"), job.problem && h("div", { class: "muted" }, job.problem.message)),
      h("td", {}, stateBadge(job.state)),
      h("td", {}, job.outputs.length || "–"),
      h("td", {}, job.request.artist ?? "–"),
      h("td", {}, job.request.generation ? h("a", { href: `#/result/${job.request.generation}` }, "an earlier result") : [...new Set((job.references ?? []).map((one) => one.title || one.path))].join(", ") || "–")))),
    next && button("Show more", () => load(next, rows)));
  }

  return () => { over = true; clearTimeout(timer); };
}
