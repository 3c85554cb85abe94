// The list of packets, and below it the chosen one: its decision, its fields and its bytes.
import { find, make, text } from "./dom.js";

const SOON = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 60;

/** Fill a section's table, row by row; a row is chosen by a click or by the button in its first cell. At first it
 *  is that of the first decision. */
export function show(section, packets, first = packets.findIndex((packet) => packet.decision)) {
  const body = find("[data-packets]", section);
  body.replaceChildren();
  find("[data-packet]", section).replaceChildren();
  packets.forEach((packet, number) => {
    const row = rowOf(packet, () => choose(section, row, packet));
    row.style.animationDelay = `${Math.min(number * SOON, 2500)}ms`;
    body.append(row);
  });
  if (first >= 0) choose(section, body.rows[first], packets[first]);
}

function rowOf(packet, chosen) {
  const { decision } = packet;
  const button = make("button", { type: "button", class: "frame" }, String(packet.frame));
  return make(
    "tr",
    { onclick: chosen, class: decision && !decision.socket ? "refused" : null },
    make("th", { scope: "row" }, button),
    make("td", { class: "socket" }, decision?.socket ?? ""),
    ...[packet.source, packet.destination, `${packet.protocol} ${packet.info}`].map((cell) => make("td", {}, cell)),
    make("td", { class: "rule" }, decision?.rule ?? decision?.verdict ?? ""),
  );
}

function choose(section, row, packet) {
  for (const other of row.parentElement.rows) {
    other.classList.toggle("chosen", other === row);
    find("button", other).setAttribute("aria-pressed", other === row);
  }
  const bytes = make("div", { class: "bytes", role: "group", "aria-label": text("bytes") }, ...dump(packet.bytes));
  const light = (field) => {
    for (const span of bytes.querySelectorAll("[data-at]")) {
      span.classList.toggle("lit", field && span.dataset.at >= field.start && span.dataset.at < field.end);
    }
  };
  const fields = packet.fields.map((field) =>
    make("li", {}, make("button", {
      type: "button",
      onclick: () => light(field),
      onfocus: () => light(field),
      onmouseenter: () => light(field),
    }, make("span", { class: "name" }, field.name), " ", make("span", {}, field.value))),
  );
  find("[data-packet]", section).replaceChildren(
    decision(packet),
    make("h4", {}, text("bytes")), bytes,
    make("h4", {}, text("fields")), make("ul", { class: "fields" }, ...fields),
  );
}

function decision(packet) {
  const comment = packet.comment || text("no_decision");
  return make("div", { class: "decision" },
    make("h4", {}, `${text("decision")} · ${packet.frame}`),
    ...comment.split("\n").map((line) => make("p", {}, line)),
    packet.steps.length ? make("details", { open: true }, make("summary", {}, text("steps")), make("ol", {}, ...packet.steps.map((step) => make("li", {}, step)))) : null,
  );
}

function* dump(hex) {
  const bytes = hex.match(/../g) ?? [];
  for (let start = 0; start < bytes.length; start += 16) {
    const line = bytes.slice(start, start + 16);
    yield make("div", {}, make("span", { class: "offset" }, start.toString(16).padStart(4, "0")), " ",
      ...line.flatMap((byte, at) => [make("span", { "data-at": start + at }, byte), " "]));
  }
}
