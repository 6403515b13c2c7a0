// The library on a plane: stems that sound alike lie together. The table says the same in words.

import { get } from "./api.js";
import { h, put, svg } from "./dom.js";
import { problemNotice } from "./problems.js";

export function map(place, choose) {
  let dots = new Map(), only = null;
  const said = h("p", { class: "muted", "aria-live": "polite" }, "Stems that sound alike lie together. Arrow keys go from one to the next.");
  put(place, h("p", { class: "muted" }, "Loading…"));

  async function load() {
    try {
      const [{ points }, { stems }] = await Promise.all([get("/v1/map"), get("/v1/stems?limit=1000")]);
      const named = new Map(stems.map((one) => [one.stem, one]));
      if (!points.length) return put(place, h("p", { class: "muted" }, "Nothing is indexed yet."));
      const order = [...points].sort((a, b) => a.x - b.x);
      const picture = svg("svg", { class: "map", viewBox: "-54 -54 108 108", role: "group", "aria-label": "Map of the library" },
        order.map((point, i) => {
          const stem = named.get(point.stem);
          const name = stem ? `${stem.title || stem.path}, ${stem.artist}` : point.stem.slice(0, 12);
          const dot = svg("circle", {
            cx: 50 * point.x, cy: -50 * point.y, r: 1.8, tabindex: i === 0 ? 0 : -1, role: "button", "aria-label": name,
            class: stem && !stem.granted.length ? "off" : "",
            onclick: () => choose(point.stem),
            onfocus: () => { said.textContent = name; },
            onpointerenter: () => { said.textContent = name; },
            onkeydown: (event) => {
              const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
              if (step) {
                const all = [...picture.children];
                const next = all[(i + step + all.length) % all.length];
                dot.setAttribute("tabindex", -1);
                next.setAttribute("tabindex", 0);
                next.focus();
              } else if (event.key === "Enter" || event.key === " ") choose(point.stem);
              else return;
              event.preventDefault();
            },
          }, svg("title", {}, name));
          dots.set(point.stem, dot);
          return dot;
        }));
      put(place, picture, said);
      show();
    } catch (problem) {
      put(place, problemNotice(problem));
    }
  }

  function show() {
    for (const [stem, dot] of dots) dot.setAttribute("opacity", !only || only.has(stem) ? 1 : 0.25);
  }

  load();
  return { only: (stems) => { only = stems; show(); } };
}
