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
    options.body = written(json);
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
    try { said = { ...said, ...read(await answer.text()) }; } catch { /* not a document */ }
    const problem = new Problem(said);
    problem.retryAfter = Number(answer.headers.get("Retry-After")) || 0;
    if (problem.status === 401) window.dispatchEvent(new CustomEvent("signed-out"));
    throw problem;
  }
  if (raw) return answer;
  if (answer.status === 204) return null;
  return read(await answer.text());
}

// Seeds go to 2^63 - 1, and numbers here are exact to 2^53 only: longer ones are digits in a text.
// Within a text of JSON the quotes are escaped, so that nothing but the field looks like this.
const read = (text) => JSON.parse(text.replace(/"seed":\s*(\d{16,})/g, '"seed":"$1"'));
const written = (value) => JSON.stringify(value).replace(/"seed":"(\d+)"/g, '"seed":$1');

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
  /** What was stored, if it `fits`: anybody may have written there. */
  get(name, otherwise = null, fits = () => true) { return stored(() => localStorage, name, otherwise, fits); },
  set(name, value) { put(() => localStorage, name, value); },
  /** As above, for this browser tab alone: a reload sees it, another tab does not. */
  own(name) { return stored(() => sessionStorage, name, null, () => true); },
  setOwn(name, value) { put(() => sessionStorage, name, value); },
};

function stored(place, name, otherwise, fits) {
  try {
    const value = JSON.parse(place().getItem(`rag-audio.${name}`)) ?? otherwise;
    return fits(value) ? value : otherwise;
  } catch { return otherwise; }
}

function put(place, name, value) {
  try { place().setItem(`rag-audio.${name}`, JSON.stringify(value)); } catch { /* private mode */ }
}
