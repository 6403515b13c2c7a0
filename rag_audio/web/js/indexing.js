// Index a folder of the server (admin): progress, and what was taken or refused.

import { h } from "./dom.js";

export function indexing() {
  return h("section", { class: "panel stack tight", "aria-label": "Index a folder" },
    h("h2", {}, "Index a folder"),
    h("p", { class: "muted" }, "On the server, while this page is open or not:"),
    h("pre", { tabindex: 0 }, "rag-audio index FOLDER"));
}
