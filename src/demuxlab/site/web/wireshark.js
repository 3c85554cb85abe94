// "Open in Wireshark here": a list of frames, a display filter and the dissection, from wiregasm in its worker.
import { find, make, root, text } from "./dom.js";

let worker = null;
let shown = null;

export async function open(place, name, data, status) {
  worker ??= new Worker(new URL(`${root}assets/wireshark/wireshark_worker.js`, document.baseURI));
  status.textContent = text("wireshark_loading");
  const filter = make("input", { type: "search", "aria-label": text("wireshark_label"), size: 30 });
  const form = make("form", { class: "bar" }, make("label", {}, text("wireshark_label"), " ", filter), make("output", {}));
  const list = make("div", { class: "wide packets", tabindex: "0", role: "region", "aria-label": "Wireshark" });
  const dissection = make("div", { class: "tree" });
  if (shown) shown.hidden = true; // there is one Wireshark, and it has one capture
  shown = place;
  place.className = "shark";
  place.hidden = false;
  place.replaceChildren(make("h3", {}, "Wireshark"), make("p", { class: "hint" }, make("a", { href: `${root}assets/wireshark/LICENSE` }, text("wireshark_licence"))), form, list, dissection);
  let count = 0;
  const answered = new Promise((resolve, reject) => {
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = ({ data: got }) => {
      if (got.error) {
        find("output", form).textContent = text("wireshark_filter", { why: got.error });
        reject(new Error(got.error));
      } else if (got.tree) dissection.replaceChildren(branches(got.tree));
      else {
        count ||= got.frames.length;
        find("output", form).textContent = text("wireshark_ready", { shown: got.matched || got.frames.length, count });
        list.replaceChildren(table(got));
        resolve();
      }
    };
  });
  form.onsubmit = (event) => {
    event.preventDefault();
    worker.postMessage({ filter: filter.value });
  };
  worker.postMessage({ name, data });
  await answered;
  status.textContent = "";
}

function table({ columns, frames }) {
  const head = make("tr", {}, ...columns.map((column) => make("th", { scope: "col" }, column)));
  const rows = frames.map(({ number, cells: [first, ...rest] }) => {
    const button = make("button", { type: "button", class: "frame" }, first);
    const dissect = () => worker.postMessage({ frame: number });
    return make("tr", { onclick: dissect }, make("th", { scope: "row" }, button), ...rest.map((cell) => make("td", {}, cell)));
  });
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

function branches(nodes) {
  return make("ul", {}, ...nodes.map((node) => make("li", {}, node.children.length ? make("details", {}, make("summary", {}, node.label), branches(node.children)) : node.label)));
}
