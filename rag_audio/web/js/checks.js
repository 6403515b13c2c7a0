// Controls whose values may be wrong: each is marked where it stands and says why.

import { fresh, h } from "./dom.js";

const marks = new WeakMap();

/** Say beside a control what is wrong with it; "" takes it back. */
export function mark(control, says) {
  let place = marks.get(control);
  if (!says) {
    if (!place) return;
    place.remove();
    marks.delete(control);
    control.removeAttribute("aria-invalid");
    describe(control, place.id, false);
    return;
  }
  if (!place) {
    place = h("span", { class: "fault", id: fresh("fault") });
    marks.set(control, place);
    if (control.tagName !== "BUTTON") control.setAttribute("aria-invalid", "true");
    describe(control, place.id, true);
  }
  (control.closest(".region") ?? control.closest(".field") ?? control.parentElement).append(place);
  place.textContent = says;
}

function describe(control, id, on) {
  const ids = (control.getAttribute("aria-describedby") ?? "").split(" ").filter((one) => one && one !== id);
  if (on) ids.push(id);
  if (ids.length) control.setAttribute("aria-describedby", ids.join(" "));
  else control.removeAttribute("aria-describedby");
}

/** The checks of a form. */
export function checks() {
  let watched = [];
  const here = () => {
    watched = watched.filter(({ control, seen }) => !seen || control.isConnected);
    for (const one of watched) one.seen ||= one.control.isConnected;
    return watched.filter(({ control }) => control.isConnected && !control.disabled);
  };
  return {
    /** Mark a control whenever it is left with a value of which `why()` says what is wrong. */
    watch(control, why) {
      watched.push({ control, why, seen: false });
      control.addEventListener("change", () => mark(control, control.disabled ? "" : why()));
      control.addEventListener("input", () => { if (marks.has(control)) mark(control, why()); });
      return control;
    },
    /** Whether anything is wrong; marks nothing. */
    any: () => here().some(({ why }) => why() !== ""),
    /** Mark all that is wrong, show the first of it; true where there was something. */
    stop(of = () => true) {
      const wrong = here().filter(({ control, why }) => {
        const says = of(control) ? why() : "";
        mark(control, says);
        return says;
      }).map(({ control }) => control);
      if (!wrong.length) return false;
      const details = wrong[0].closest("details");
      if (details) details.open = true;
      wrong[0].focus();
      return true;
    },
  };
}
