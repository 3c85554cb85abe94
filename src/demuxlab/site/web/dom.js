// Small helpers for the page's own elements and texts.
const texts = JSON.parse(document.getElementById("texts").textContent);
export const { root, up } = document.documentElement.dataset;
export const language = document.documentElement.lang;

/** A text of this page's language, with its {values}. */
export function text(name, values = {}) {
  return texts[name].replace(/\{(\w+)\}/g, (_whole, key) => values[key] ?? "");
}

export function find(selector, inside = document) {
  return inside.querySelector(selector);
}

/** A new element: make("td", {class: "x", onclick: f}, "text", element). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Offer a file to save; `data` is text or bytes. */
export function save(name, data, type = "application/octet-stream") {
  const address = URL.createObjectURL(new Blob([data], { type }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** Do the work of a button or a form: the button is disabled meanwhile, and a failure is said beside it. */
export function working(element, status, work) {
  const isForm = element instanceof HTMLFormElement;
  element.addEventListener(isForm ? "submit" : "click", async (event) => {
    event.preventDefault();
    const button = isForm ? find("button:not([type])", element) : element;
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      status.textContent = text("failed", { why: error.message });
    } finally {
      button.disabled = false;
    }
  });
}
