// Controls whose values may be wrong: each is marked where it stands and says why.

import { fresh, h } from "./dom.js";
import { sentence } from "./problems.js";
import { fault } from "./terms.js";

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
  /** The control at a place of the request, or of what that is a part of. */
  function at(where) {
    for (let place = where; place.length > 1; place = place.slice(0, place.lastIndexOf("/"))) {
      const found = here().filter((one) => one.where() === place).map(({ control }) => control);
      if (found.length) return found.find((one) => one.checked) ?? found[0];
    }
    return null;
  }
  function show([first]) {
    if (!first) return false;
    const details = first.closest("details");
    if (details) details.open = true;
    first.focus();
    return true;
  }
  return {
    /**
     * Mark a control whenever it is left with a value of which `why()` says what is wrong.
     * `where()` is its place in the request, a JSON pointer: what the service finds wrong there is
     * marked as well.
     */
    watch(control, why = () => "", where = () => null) {
      watched.push({ control, why, where, seen: false });
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
      return show(wrong);
    },
    /** Mark what the service found wrong, where the form has a control for it; true where it has. */
    blame(problem) {
      const wrong = [];
      for (const one of problem.status === 422 ? problem.errors ?? [] : []) {
        const control = at(one.where || `/${one.field}`);
        if (!control || wrong.includes(control)) continue;
        mark(control, sentence(fault(one)));
        // Of boxes and radio buttons each belongs to the same field.
        control.closest("fieldset")?.addEventListener("input", () => mark(control, ""), { once: true });
        wrong.push(control);
      }
      return show(wrong);
    },
  };
}
