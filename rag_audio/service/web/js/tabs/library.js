// Library: what there is, what its licenses allow, and how it lies together.

import { app } from "../app.js";
import { get, post, query } from "../api.js";
import { button, clock, field, h, put, select, state, table, toast } from "../dom.js";
import { useAsReference } from "../draft.js";
import { indexing } from "../indexing.js";
import { map } from "../map.js";
import { problemNotice } from "../problems.js";
import { hush, licenseBadge, listenButton } from "../words.js";

const FACETS = [["artist", "Artist"], ["license", "License"], ["tag", "Tag"], ["key", "Key"], ["kind", "Kind"]];
const PAGE = matchMedia("(max-width: 640px)").matches ? 20 : 50;

export function show(place, { query: asked }) {
  const wanted = { q: asked.get("q") ?? "", artist: asked.get("artist") ?? "" };
  let over = false, turn = 0, timer = null, total = 0, more = "";
  const list = h("div", { "aria-live": "polite" });
  const facets = h("div", { class: "grid" });
  const licenses = h("div", {});
  const count = h("span", { class: "muted" });
  const mapPlace = h("div", { class: "stack tight" });
  const words = h("input", { type: "search", value: wanted.q, maxlength: 200, oninput: () => { wanted.q = words.value.trim(); later(); } });

  put(place,
    h("div", { class: "page-head" }, h("h1", {}, "Library"), count),
    h("div", { class: "columns wide-left" },
      h("section", { class: "panel stack", "aria-label": "Stems" }, field("Search titles, artists, tags", words), facets, list),
      h("div", { class: "stack" },
        h("section", { class: "panel stack tight", "aria-label": "Map" }, h("h2", {}, "Map"), mapPlace),
        h("section", { class: "panel stack tight", "aria-label": "Licenses" }, h("h2", {}, "Licenses"), licenses),
        app.may("admin") && indexing(() => load()))));
  load();
  drawLicenses();
  const view = map(mapPlace, (stem) => showOne(stem));

  function later() {
    clearTimeout(timer);
    timer = setTimeout(() => load(), 250);
  }

  async function load(after = null, rows = []) {
    const mine = (turn += 1);
    try {
      const page = await get(`/v1/stems${query({ ...wanted, after, limit: PAGE })}`);
      if (over || mine !== turn) return;
      total = page.total;
      more = page.total_is_exact ? "" : "+";
      drawFacets(page.facets, page.facets_of < total || more ? "+" : "");
      drawList([...rows, ...page.stems], page.next);
    } catch (problem) {
      if (!over && mine === turn) put(list, problemNotice(problem));
    }
  }

  function drawFacets(found, beyond) {
    const focused = document.activeElement?.dataset?.facet;
    put(facets, FACETS.map(([name, label]) => {
      const values = Object.entries(found[name] ?? {}).map(([value, n]) => [value, `${value.split("/").pop()} (${n}${beyond})`]);
      if (wanted[name] && !values.some(([value]) => value === wanted[name])) values.unshift([wanted[name], wanted[name]]);
      const choice = select([["", "Any"], ...values], wanted[name] ?? "", () => { wanted[name] = choice.value; load(); });
      choice.dataset.facet = name;
      return field(label, choice);
    }));
    if (focused) facets.querySelector(`[data-facet="${focused}"]`)?.focus();
  }

  function drawList(rows, next) {
    const filtered = Object.values(wanted).some(Boolean);
    count.textContent = `${total}${more} ${total === 1 ? "stem" : "stems"}`;
    view.only(filtered ? new Set(rows.map((one) => one.stem)) : null);
    if (!rows.length) {
      return put(list, filtered
        ? state("Nothing fits", "No stem has all of this.", button("Show all", () => { for (const name of Object.keys(wanted)) wanted[name] = ""; words.value = ""; load(); }))
        : state("The library is empty", "Index a folder of licensed stems, or ask the operator of this service to. A folder says in library.toml and stems.csv what may be done with it."));
    }
    put(list,
      table("Stems", ["Title", "Tempo", "Key", "Length", "License", "Listen", ""], rows.map(row)),
      next && h("div", { class: "row" }, button(`Show more (${total - rows.length}${more})`, () => load(next, rows))));
  }

  function row(stem) {
    const name = stem.title || stem.path;
    return h("tr", { "data-stem": stem.stem },
      h("td", {}, h("b", {}, name), h("div", { class: "muted" }, [stem.artist, stem.kind === "midi" ? "MIDI" : "audio"].filter(Boolean).join(" · "))),
      h("td", {}, stem.bpm ? Math.round(stem.bpm) : "–"), h("td", {}, stem.key ?? "–"), h("td", {}, clock(stem.duration_s)),
      h("td", {}, licenseBadge(stem), stem.valid_until && h("div", { class: "muted" }, `until ${stem.valid_until}`)),
      h("td", {}, listenButton(stem)),
      h("td", { class: "actions" }, h("div", { class: "row" },
        button("Similar", () => similar(stem), { "aria-label": `Similar to ${name}` }),
        button("Use as reference", () => toast(useAsReference({ stem: stem.stem, title: name }) ? `${name} is in the tray of Create` : "It is in the tray already"), { disabled: !stem.granted.length, "aria-label": `Use as reference: ${name}` }))));
  }

  async function similar(stem) {
    const mine = (turn += 1);
    put(list, h("p", { class: "muted" }, "Searching…"));
    try {
      const { references } = await post("/v1/search", { like: [stem.stem], limit: 24 });
      if (over || mine !== turn) return;
      const seen = new Set([stem.stem]);
      const found = references.filter((one) => !seen.has(one.stem) && seen.add(one.stem));
      view.only(new Set([stem.stem, ...found.map((one) => one.stem)]));
      put(list,
        h("div", { class: "row spread" }, h("h2", {}, `Like ${stem.title || stem.path}`), button("Back to all", () => load())),
        found.length ? table("Similar stems", ["Title", "Tempo", "Key", "Length", "License", "Listen", ""], found.map(row)) : h("p", {}, "No licensed stem is near it."));
    } catch (problem) {
      put(list, problemNotice(problem), button("Back to all", () => load()));
    }
  }

  async function showOne(id) {
    const mine = (turn += 1);
    try {
      const stem = await get(`/v1/stems/${id}`);
      if (over || mine !== turn) return;
      put(list, h("div", { class: "row spread" }, h("h2", {}, stem.title || stem.path), button("Back to all", () => load())),
        table("Stem", ["Title", "Tempo", "Key", "Length", "License", "Listen", ""], [row(stem)]),
        h("dl", {}, [["Tags", stem.tags.join(", ")], ["Instruments", stem.instruments.join(", ")], ["Holder", stem.holder], ["Credit", stem.credit], ["File", stem.path]].filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
    } catch (problem) {
      put(list, problemNotice(problem));
    }
  }

  async function drawLicenses() {
    try {
      const found = await get("/v1/libraries");
      if (over) return;
      put(licenses, h("ul", {}, found.licenses.filter((one) => one.stems > 0 || one.refusal).map((one) => h("li", { class: "item" },
        h("div", { class: "wide" }, h("span", { class: "title" }, one.license), h("div", { class: "meta" }, h("span", {}, one.holder), h("span", {}, `${one.stems} stems`))),
        h("div", { class: "wide" }, licenseBadge({ ...one, revoked: one.refusal === "it was revoked" })),
        one.refusal && h("span", { class: "muted wide" }, one.refusal)))));
    } catch (problem) {
      put(licenses, problemNotice(problem));
    }
  }

  return () => { over = true; clearTimeout(timer); hush(); };
}
