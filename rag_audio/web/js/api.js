// The client of /v1: every call of the page goes through here.

export class Problem extends Error {
  /** @param {object} document an RFC 9457 document */
  constructor(document) {
    super(document.detail || document.title || "the request failed");
    Object.assign(this, document);
    this.slug = String(document.type ?? "").split("/").pop();
  }
}

const OFFLINE = { status: 0, slug: "offline", title: "No answer", detail: "the server does not answer", hint: "it may have been stopped, or the network is away. The page tries again by itself." };

export async function call(path, { method = "GET", json, body, raw = false, headers = {}, signal } = {}) {
  const options = { method, headers: { ...headers }, signal, credentials: "same-origin" };
  if (json !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = typeof json === "string" ? json : JSON.stringify(json);
  } else if (body !== undefined) {
    options.headers["Content-Type"] = "application/octet-stream";
    options.body = body;
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(OFFLINE);
  }
  if (!answer.ok) {
    let said = { status: answer.status, detail: `the server answered ${answer.status}` };
    try { said = { ...said, ...(await answer.json()) }; } catch { /* not a document */ }
    const problem = new Problem(said);
    problem.retryAfter = Number(answer.headers.get("Retry-After")) || 0;
    if (problem.status === 401) window.dispatchEvent(new CustomEvent("signed-out"));
    throw problem;
  }
  if (raw) return answer;
  if (answer.status === 204) return null;
  return answer.json();
}

export const get = (path, options) => call(path, options);
export const post = (path, json, options) => call(path, { ...options, method: "POST", json });
export const send = (path, body, options) => call(path, { ...options, method: "POST", body });

/** A query string of the values that are set. */
export function query(values) {
  const set = Object.entries(values).filter(([, value]) => value !== "" && value != null);
  return set.length ? `?${new URLSearchParams(set)}` : "";
}

/**
 * Follow a job until it ends.
 *
 * `on(kind, data)`: kind is `state`, `progress`, `position`, `away` (reconnecting) or `back`.
 * `ended()` comes once. Returns a function that stops following.
 */
export function follow(id, on, ended) {
  let source = null, timer = null, over = false, away = false;
  const finish = () => { if (!over) { stop(); ended(); } };
  function stop() {
    over = true;
    clearTimeout(timer);
    window.removeEventListener("offline", check);
    source?.close();
  }
  function heard(kind) {
    return (event) => {
      if (away) { away = false; on("back", {}); }
      const data = JSON.parse(event.data);
      on(kind, data);
      if (kind === "state" && ["succeeded", "failed", "canceled"].includes(data.state)) finish();
    };
  }
  function lost() {
    if (over) return;
    if (source.readyState === EventSource.CONNECTING) {
      // The stream also ends for good after the last event: the job itself knows.
      clearTimeout(timer);
      timer = setTimeout(check, 400);
    } else check();
  }
  async function check() {
    if (over) return;
    try {
      const job = await get(`/v1/generations/${id}`);
      if (["succeeded", "failed", "canceled"].includes(job.state)) return finish();
      if (away) { away = false; on("back", {}); }
    } catch (problem) {
      if (problem.status === 404 || problem.status === 401) return finish();
      if (!away) { away = true; on("away", {}); }
    }
    clearTimeout(timer);
    if (away) timer = setTimeout(check, 1500);
    else if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, 1000);
  }
  function open() {
    source = new EventSource(`/v1/generations/${id}/events`);
    for (const kind of ["state", "progress", "position"]) source.addEventListener(kind, heard(kind));
    source.onerror = lost;
  }
  // A stream that is cut off may stay silent for long; this machine knows sooner.
  window.addEventListener("offline", check);
  open();
  return stop;
}

/** Keep small things on this machine: what was typed, presets, choices. */
export const store = {
  get(name, otherwise) {
    try { return JSON.parse(localStorage.getItem(`rag-audio.${name}`)) ?? otherwise; } catch { return otherwise; }
  },
  set(name, value) {
    try { localStorage.setItem(`rag-audio.${name}`, JSON.stringify(value)); } catch { /* private mode */ }
  },
};
