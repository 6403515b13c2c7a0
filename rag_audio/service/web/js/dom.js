// Small helpers to build the page. Text always becomes a text node: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("aria-")) { element.setAttribute(name, String(value)); continue; }
    if (value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") {
      for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    } else if (name === "value" || name === "checked" || name === "disabled" || name === "open") {
      element[name] = value;
    } else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** An element: `h("p", {class: "note"}, "text", child)`. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An SVG element. */
export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/** Replace what an element holds. */
export function put(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

let ids = 0;
/** An id that no other element has. */
export function fresh(prefix = "f") {
  ids += 1;
  return `${prefix}-${ids}`;
}

/** A label above its control; `hint` is read with it. */
export function field(label, control, hint) {
  control.id ||= fresh();
  const parts = [h("label", { for: control.id }, label), control];
  if (hint) {
    const id = fresh("hint");
    control.setAttribute("aria-describedby", id);
    parts.push(h("span", { class: "hint", id }, hint));
  }
  return h("div", { class: "field" }, parts);
}

export function button(text, onclick, properties) {
  return h("button", { type: "button", onclick, ...properties }, text);
}

export function select(options, value, onchange) {
  return h(
    "select",
    { onchange },
    options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)),
  );
}

/**
 * A slider with a number field beside it, which always say the same; the returned element has
 * `value` (null: empty), `input` (the number field) and `disabled`, and fires `moved`.
 */
export function slider(label, { min, max, step, value, unit = "", placeholder = "", hint = "" }) {
  const id = fresh();
  const number = h("input", { type: "number", id, min, max, step, value: value ?? "", placeholder });
  const range = h("input", { type: "range", min, max, step, "aria-label": `${label}, slider` });
  const said = hint && h("span", { class: "hint", id: fresh("hint") }, hint);
  if (said) number.setAttribute("aria-describedby", said.id);
  const box = h(
    "div",
    { class: "field slider" },
    h("label", { for: id }, label, unit && h("span", { class: "unit" }, ` ${unit}`)),
    h("div", { class: "pair" }, range, number),
    said,
  );
  const steps = (at) => Math.round((at - min) / step);
  function follow() {
    const at = number.value === "" ? placeholder || min : Number(number.value);
    // A number between two steps is shown where it is, not at the nearer step.
    range.step = Math.abs((at - min) / step - steps(at)) < 1e-6 ? step : "any";
    range.value = at;
  }
  const changed = () => box.dispatchEvent(new CustomEvent("moved", { bubbles: true }));
  range.addEventListener("input", () => {
    number.value = Number((min + steps(range.value) * step).toFixed(6));
    number.dispatchEvent(new Event("input"));
    number.dispatchEvent(new Event("change"));
  });
  number.addEventListener("input", () => { follow(); changed(); });
  follow();
  Object.defineProperties(box, {
    input: { value: number },
    value: {
      get: () => (number.value === "" ? null : Number(number.value)),
      set: (given) => { number.value = given ?? ""; follow(); },
    },
    disabled: { set: (given) => { number.disabled = range.disabled = given; } },
  });
  return box;
}

/** Say something for a moment, to eyes and to screen readers; with a link until it is closed. */
export function toast(text, link = null) {
  const place = document.getElementById("toast");
  const close = () => put(place);
  clearTimeout(toast.timer);
  put(place, text, link && [link, button("Close", close)]);
  if (link) link.addEventListener("click", close);
  else toast.timer = setTimeout(close, 5000);
}

export function percent(share) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(1)}\u00a0%`;
}

export function number(value, digits = 2, unit = "") {
  return Number.isFinite(value) ? `${value.toFixed(digits)}${unit}` : "–";
}

export function clock(seconds) {
  const whole = Math.max(0, seconds || 0);
  const minutes = Math.floor(whole / 60);
  return `${minutes}:${(whole - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

export function when(text) {
  return text ? new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "–";
}

/** A notice about a state of things: what it is, and the way out. */
export function state(title, text, ...actions) {
  return h(
    "div",
    { class: "state" },
    h("h2", {}, title),
    text && h("p", {}, text),
    actions.some(Boolean) && h("div", { class: "row" }, actions),
  );
}

/** A table; a narrow screen shows its rows as cards, so the roles are said aloud and cells labelled. */
export function table(label, head, rows) {
  const body = h("tbody", { role: "rowgroup" }, rows);
  for (const row of body.rows) {
    row.setAttribute("role", "row");
    let column = 0;
    for (const cell of row.cells) {
      cell.setAttribute("role", "cell");
      if (head[column] && cell.colSpan === 1) cell.dataset.label = head[column];
      column += cell.colSpan;
    }
  }
  return h(
    "div",
    { class: "scroller", tabindex: 0, role: "region", "aria-label": label },
    h("table", { role: "table", "aria-label": label },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head.map((name) => h("th", { role: "columnheader", scope: "col" }, name || h("span", { class: "sr" }, "Actions"))))),
      body),
  );
}
