// The section "Exercise": the file in an editor, the checks with their stories and packets.
import { bytesOf, find, language, make, save, text, working } from "./dom.js";
import { open } from "./packets.js";
import * as progress from "./progress.js";
import { call, Stopped } from "./python.js";

export async function setUp(lab) {
  const section = find("#exercise");
  const starter = find("[data-starter]", section).textContent;
  const place = find("[data-editor]", section);
  const status = find("[data-check-status]", section);
  const { create } = await import("./editor.js");
  const kept = progress.of(lab).source;
  const editor = create(place, kept ?? starter, place.getAttribute("aria-label"), (source) => progress.keep(lab, { source }));
  find("[data-plain]", section).hidden = true;
  if (kept && kept !== starter) status.textContent = text("restored");

  working(find("[data-check]", section), status, () => check(lab, editor.source, section, status));
  find("[data-save-exercise]", section).onclick = () => save("exercise.py", editor.source, "text/x-python");
  find("[data-load-exercise]", section).onchange = async ({ target }) => (editor.source = await target.files[0].text());
  find("[data-reset]", section).onclick = () => confirm(text("reset")) && (editor.source = starter);
}

async function check(lab, source, section, status) {
  const list = find("[data-checks]", section);
  list.replaceChildren();
  let number = 0;
  const title = (name) => name.replace(/^test_/, "").replaceAll("_", " ");
  let result;
  try {
    result = await call("grade", [lab, source, language], (name) => {
      number += 1;
      status.textContent = text("checking", { number, name: title(name) });
    });
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    throw error.check ? new Stopped(error.seconds, title(error.check)) : error;
  }
  list.append(...result.tests.map((test) => item(test, result.captures[test.name], result.pictures[test.name])));
  find("details", list)?.setAttribute("open", "");
  const all = result.tests.length > 0 && result.tests.every((test) => test.passed) && !result.changed?.length;
  status.textContent = text(all ? "all_passed" : "checked", result);
  if (result.changed?.length) status.textContent = text("no_points", { names: result.changed.join(", ") });
  progress.keep(lab, { points: result.points, max_points: result.max_points });
  tellParent(lab, result);
}

function item(test, capture, picture) {
  const head = [
    make("span", { class: test.passed ? "good" : "bad" }, test.passed ? "✓" : "✗", make("span", { class: "unseen" }, ` ${text(test.passed ? "passed" : "not_passed")} `)),
    ` ${test.title} `,
    make("span", { class: "points" }, text("points", test)),
  ];
  if (test.passed) return make("li", {}, ...head);
  return make("li", {}, make("details", {}, make("summary", {}, ...head), make("pre", { tabindex: "0" }, test.story), picture && drawn(test.title, picture), capture && packetsOf(test.name, capture)));
}

/** The drawing that a check has kept: an image, so that no script in it would run. */
function drawn(title, picture) {
  return make("img", { alt: title, src: `data:image/svg+xml,${encodeURIComponent(picture)}` });
}

/** The packets that a check had asked about, on demand; the last one is what the check failed on. */
function packetsOf(check, capture) {
  const status = make("span", { role: "status" });
  const button = make("button", { type: "button" }, text("packets_of_check"));
  const saving = make("button", { type: "button", onclick: () => save(`${check}.pcapng`, bytesOf(capture)) }, text("save_packets"));
  const place = make("div");
  working(button, status, () => open(place, capture, true));
  return make("div", {}, make("p", { class: "bar" }, button, saving, status), place);
}

/** Tell a page that shows this one in a frame (docs/browser.md): no learner's text, only the result. */
function tellParent(lab, { points, max_points, tests }) {
  if (window.parent === window) return;
  const passed = tests.filter((test) => test.passed).map((test) => test.name);
  window.parent.postMessage({ demuxlab: "checks", lab, points, max_points, passed, of: tests.length }, "*");
}
