// Files on their way to the service. They belong to the draft and not to the tab that shows it:
// whichever tray is on the page when one has arrived shows it.

import { send } from "./api.js";
import { bringIn, turn } from "./draft.js";

const told = new EventTarget();
const newest = { audio: 0, midi: 0 };
let underway = [], failed = null, chosen = 0;

/** The names of what is on its way into the draft of now, and the problem of the last that failed. */
export function uploads() {
  return {
    names: underway.filter((one) => one.of === turn()).map((one) => one.title),
    problem: failed?.of === turn() ? failed.problem : null,
  };
}

/**
 * Be told when `uploads()` have changed, and of what has arrived; returns what ends it.
 *
 * @param {() => void} changed
 * @param {(upload: {id: string, kind: string}, as: string) => void} arrived it is in the draft
 */
export function watchUploads(changed, arrived) {
  const ended = new AbortController();
  told.addEventListener("changed", changed, ended);
  told.addEventListener("arrived", ({ detail }) => arrived(detail.upload, detail.as), ended);
  return () => ended.abort();
}

/** Bring a file into the draft whose turn it was; of each kind the one that was chosen last stays. */
export async function bring(file, title = file.name, as = "", of = turn()) {
  // Whoever has cleared the form meanwhile wants nothing of before in it.
  if (of !== turn()) return;
  const mine = { title, of, number: (chosen += 1) };
  underway.push(mine);
  failed = null;
  told.dispatchEvent(new Event("changed"));
  let upload = null;
  try {
    upload = await send("/v1/uploads", file);
  } catch (problem) {
    failed = { problem, of };
  }
  underway = underway.filter((one) => one !== mine);
  if (upload && of === turn() && mine.number > newest[upload.kind]) {
    newest[upload.kind] = mine.number;
    bringIn({ upload: upload.id, kind: upload.kind, title, rights: "", as });
    told.dispatchEvent(new CustomEvent("arrived", { detail: { upload, as } }));
  }
  told.dispatchEvent(new Event("changed"));
}
