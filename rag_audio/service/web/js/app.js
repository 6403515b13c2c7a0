// The page: which tab is shown, who asks, and what the service says about itself.

import { get, post, call, store } from "./api.js";
import { button, field, h, put, state } from "./dom.js";
import { learn } from "./limits.js";
import { problemNotice } from "./problems.js";
import { installKeys, showKeys } from "./keys.js";
import { guarded } from "./sending.js";
import { told } from "./terms.js";

const TABS = [
  ["create", "Create", "generate"],
  ["result", "Result", "generate"],
  ["library", "Library", "search"],
  ["trace", "Trace", null],
  ["history", "History", "generate"],
  ["ledger", "Ledger", "trace"],
  ["status", "Status", null],
];

/** What all tabs share. */
export const app = {
  session: null,
  status: null,
  may(scope) {
    const scopes = this.session?.scopes ?? [];
    return !scope || scopes.includes(scope) || scopes.includes("admin");
  },
};

const main = document.getElementById("main");
let leave = null;
let turn = 0;

/** A part of the address, which anybody may have written. */
function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function here() {
  const [, tab = "create", id = ""] = location.hash.split("?")[0].split("/");
  return { tab: TABS.some(([name]) => name === tab) ? tab : "create", id: decoded(id), query: new URLSearchParams(location.hash.split("?")[1] ?? "") };
}

async function show(moved = false) {
  const mine = (turn += 1);
  const { tab, id, query } = here();
  const [, title, scope] = TABS.find(([name]) => name === tab);
  leave?.();
  leave = null;
  drawNav(tab);
  document.title = `${title} · rag-audio`;
  if (!app.session) return;
  if (!app.may(scope)) {
    put(main, h("h1", { class: "sr" }, title), state("Not with this key", `This part needs a key with the scope “${scope}”.`, button("Sign in with another key", signIn)));
    return;
  }
  const page = await import(`./tabs/${tab}.js`);
  if (mine !== turn) return;
  const place = h("div", { class: "tab" });
  put(main, place);
  if (moved) main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
  leave = page.show(place, { id, query }) ?? null;
}

function drawNav(tab) {
  put(
    document.getElementById("nav"),
    TABS.map(([name, title]) => {
      const last = name === "result" && store.get("last", "", (id) => /^[0-9a-f]{32}$/.test(id));
      return h("a", { href: `#/${name}${last ? `/${last}` : ""}`, "aria-current": name === tab ? "page" : null }, title);
    }),
  );
}

function drawBar() {
  const signedIn = app.session?.key;
  put(
    document.getElementById("bar-end"),
    signedIn && h("span", { class: "muted" }, app.session.name),
    signedIn && button("Sign out", signOut, { class: "plain" }),
    button("?", showKeys, { "aria-label": "Keys", title: "Keys (?)" }),
  );
}

/** What is the matter with the service as a whole, said on every tab. */
function drawBanner() {
  const status = app.status;
  const said = [];
  if (status?.problem) said.push(`No model: ${status.problem.detail ?? status.problem.message}. ${told(status.problem.hint)}`);
  else if (status && !status.model) said.push(noModel(status.model_problem));
  else if (status?.model.untrained) said.push("The model is untrained: what it makes is noise. Train or load weights before you judge it.");
  if (status && !status.problem && status.segments === 0) said.push("The library is empty: when licensed stems are indexed (Library tab, or ask the operator of this service), reload.");
  put(document.getElementById("banner"), said.map((text) => h("div", {}, text)));
}

function noModel(problem) {
  const why = problem?.message ? ` (${problem.message})` : "";
  return `No model can be loaded${why}, so nothing can be made. Search, Trace, History and the Ledger work. What helps: ${told(problem?.hint) || "ask the operator of this service"}. Then reload.`;
}

export async function refreshStatus() {
  try {
    app.status = await get("/v1/status");
  } catch (problem) {
    if (problem.status === 503) app.status = { problem };
    else if (problem.status === 0) throw problem;
  }
  drawBanner();
  return app.status;
}

function signIn() {
  leave?.();
  leave = null;
  const key = h("input", { type: "password", autocomplete: "current-password", required: true });
  const said = h("div", { role: "alert" });
  const go = h("button", { class: "main" }, "Sign in");
  const enter = guarded(() => [go], async () => {
    try {
      await post("/v1/session", { key: key.value });
      await start();
    } catch (problem) {
      put(said, problemNotice(problem));
    }
  });
  const form = h(
    "form",
    { class: "panel stack", onsubmit: (event) => { event.preventDefault(); enter(); } },
    h("h1", {}, "Sign in"),
    field("API key", key, "From the operator of this service"),
    said,
    h("div", {}, go),
  );
  put(main, h("div", { class: "columns" }, form));
  key.focus();
}

async function signOut() {
  await call("/v1/session", { method: "DELETE" });
  app.session = null;
  await start();
}

async function start() {
  try {
    app.session = await get("/v1/session");
  } catch (problem) {
    app.session = null;
    drawBar();
    drawNav(here().tab);
    if (problem.status === 401) return signIn();
    put(main, h("h1", { class: "sr" }, "rag-audio"), state("Reconnecting…", `${problem.message}. ${problem.hint ?? ""}`));
    setTimeout(start, 2000);
    return;
  }
  drawBar();
  await Promise.all([refreshStatus().catch(() => {}), learn().catch(() => {})]);
  await show();
}

window.addEventListener("hashchange", () => show(true));
window.addEventListener("signed-out", () => {
  if (app.session) {
    app.session = null;
    signIn();
  }
});
// A file that misses its drop zone must not replace the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
installKeys();
start();
