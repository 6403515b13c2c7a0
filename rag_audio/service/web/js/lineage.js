// Where a result comes from, and what was made of it.

import { get } from "./api.js";
import { h, put } from "./dom.js";
import { stateBadge } from "./words.js";

const KINDS = { inpaint: "part made again", extend: "extended", vary: "varied" };

export function lineage(job) {
  const place = h("ul", { class: "tree" }, h("li", { class: "muted" }, "Loading…"));
  find(job).then(({ parents, children }) => put(place,
    parents.map((one) => item(one)), item(job, true), children.map((one) => item(one)),
    parents.length + children.length === 0 && h("li", { class: "muted" }, "Made from its sources; nothing was made of it yet.")));
  return place;
}

async function find(job) {
  const parents = [];
  for (let id = job.request.generation; id && parents.length < 20;) {
    const parent = await get(`/v1/generations/${id}`).catch(() => null);
    if (!parent) break;
    parents.unshift(parent);
    id = parent.request.generation;
  }
  const { generations } = await get("/v1/generations?kind=edit&limit=200").catch(() => ({ generations: [] }));
  return { parents, children: generations.filter((one) => one.request.generation === job.id).reverse() };
}

function item(job, here = false) {
  const kind = KINDS[job.request.kind] ?? "generated";
  const of = job.request.generation ? ` from take ${job.request.take ?? 1}` : "";
  const text = `${kind}${of}: ${job.prompt || "the same words"}`;
  return h("li", { "aria-current": here ? "true" : null }, here ? h("b", {}, text) : h("a", { href: `#/result/${job.id}` }, text), " ", !here && job.state !== "succeeded" && stateBadge(job.state));
}
