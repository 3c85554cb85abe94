// "Which socket gets this packet?": a table of sockets, a packet, and the lookup of the course.
import { find, language, make, text } from "./dom.js";
import { call, onState } from "./python.js";

export function setUp() {
  const form = find("[data-calculator]");
  if (!form) return;
  const rows = find("[data-sockets]", form);
  const question = find("[data-question]", form);
  const status = find("[data-status]", form);
  onState((state) => (status.textContent = state === "ready" ? "" : text(state)));

  const add = (socket = {}) => {
    const row = find("[data-socket]", form).content.firstElementChild.cloneNode(true);
    row.setAttribute("aria-label", text("socket", { number: rows.children.length + 1 }));
    for (const [name, value] of Object.entries(socket)) find(`[name=${name}]`, row).value = value;
    find("[data-remove]", row).onclick = () => row.remove();
    rows.append(row);
  };
  const examples = JSON.parse(find("#examples").textContent);
  const load = () => {
    const { sockets, packet } = examples.find(({ name }) => name === form.example.value);
    rows.replaceChildren();
    sockets.forEach(add);
    for (const [name, value] of Object.entries(packet)) find(`[name=${name}]`, question).value = value;
    find("[data-answer]").replaceChildren();
  };
  find("[data-add]", form).onclick = () => add();
  form.example.onchange = load;
  load();

  form.onsubmit = async (event) => {
    event.preventDefault();
    status.textContent = text("running");
    find("[data-answer]").replaceChildren();
    try {
      const table = [...rows.children].map(socketOf);
      const asked = values(question);
      const packet = { protocol: asked.protocol, flags: asked.flags, source: [asked.source, Number(asked.source_port)], destination: [asked.destination, Number(asked.destination_port)] };
      answer(await call("which", [table, packet, language]));
      status.textContent = "";
    } catch (error) {
      status.textContent = text("failed", { why: error.message });
    }
  };
}

function values(row) {
  return Object.fromEntries([...row.querySelectorAll("[name]")].map((input) => [input.name, input.value.trim()]));
}

/** A socket as in the file that `demuxlab demux --sockets` reads. */
function socketOf(row) {
  const { name, protocol, address, port, remote, remote_port, option } = values(row);
  const socket = { name, protocol, local: [address, Number(port)], remote: remote ? [remote, Number(remote_port)] : null };
  return option ? { ...socket, [option]: true } : socket;
}

function answer({ winner, rule, reply, comment, steps }) {
  const lines = [rule && text("rule", { rule }), winner ? null : text("reply", { reply: text(reply ?? "no_reply") })];
  find("[data-answer]").replaceChildren(
    make("h2", {}, winner ? text("gets_it", { winner }) : text("nobody")),
    ...lines.filter(Boolean).map((line) => make("p", {}, line)),
    ...comment.split("\n").map((line) => make("p", { class: "comment" }, line)),
    make("h3", {}, text("steps")),
    make("ol", {}, ...steps.map((step) => make("li", {}, step))),
  );
}
