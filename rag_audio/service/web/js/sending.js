// Asking the service for something once: buttons that are off meanwhile, and one job for one wish.

import { post, store } from "./api.js";
import { button, h, toast } from "./dom.js";
import { told } from "./terms.js";

/**
 * Let `work()` run once at a time; `buttons()` are off meanwhile. They stay off where it resolves to
 * true: what they are for is done, and the page goes on elsewhere.
 */
export function guarded(buttons, work) {
  let busy = false;
  return async () => {
    if (busy) return;
    busy = true;
    const focused = document.activeElement;
    const off = buttons().filter((one) => !one.disabled);
    for (const one of off) one.disabled = true;
    let done = false;
    try {
      done = await work() === true;
    } finally {
      if (!done) {
        busy = false;
        for (const one of off) one.disabled = false;
        // A button that is off loses the focus of the keyboard.
        if (off.includes(focused) && document.activeElement === document.body) focused.focus();
      }
    }
  };
}

/** A button that is off while it asks the service. */
export function asking(text, work, properties) {
  const one = button(text, guarded(() => [one], work), properties);
  return one;
}

const underway = new Map(), keys = new Map();

/**
 * Ask for a job. The same body while it is under way is the same request. Where it is not known
 * whether a request arrived, the next one with this body has its Idempotency-Key: there is one job.
 */
export function make(path, body) {
  const wish = `${path} ${JSON.stringify(body)}`;
  if (!underway.has(wish)) underway.set(wish, sent(path, body, wish).finally(() => underway.delete(wish)));
  return underway.get(wish);
}

async function sent(path, body, wish) {
  if (!keys.has(wish)) keys.set(wish, [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join(""));
  try {
    const job = await post(path, body, { headers: { "Idempotency-Key": keys.get(wish) } });
    keys.delete(wish);
    return job;
  } catch (problem) {
    const refused = problem.status >= 400 && problem.status < 500 && problem.status !== 409;
    if (refused) keys.delete(wish);
    throw problem;
  }
}

/**
 * Where a request is made from: `job(made)` shows what was accepted, and is true then; whoever has
 * gone on to something else meanwhile stays there and is told. `problem(found)` is true where that
 * was told so; else it is shown where it was asked for.
 */
export function asker(element) {
  const from = location.hash;
  const here = () => element.isConnected && location.hash === from;
  return {
    job(made) {
      store.set("last", made.id);
      const href = `#/result/${made.id}`;
      if (here()) { location.hash = href; return true; }
      toast("What you asked for was accepted.", h("a", { href }, "Show it"));
      return false;
    },
    problem(found) {
      if (here()) return false;
      toast(`What you asked for was not accepted: ${told(found.detail ?? found.message)}`);
      return true;
    },
  };
}
