// What a learner did stays in this browser (localStorage), and can be saved to a file and loaded from it.
import { find, save, text } from "./dom.js";

const KEY = "demuxlab";
let kept = read();

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? { labs: {} };
  } catch {
    return { labs: {} }; // no storage here, as in a frame of another site
  }
}

export function of(lab) {
  return kept.labs[lab] ?? {};
}

export function keep(lab, values) {
  kept.labs[lab] = { ...of(lab), ...values };
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // It lasts as long as the page, then.
  }
}

function show() {
  for (const place of document.querySelectorAll("[data-progress]")) {
    const { points, max_points, quiz } = of(place.dataset.progress);
    const parts = [points != null && text("progress_lab", { points, max_points }), quiz && text("progress_quiz", quiz)];
    place.textContent = parts.filter(Boolean).join(" · ");
  }
}

export function setUp() {
  show();
  const button = find("[data-progress-save]");
  if (!button) return;
  button.onclick = () => save("demuxlab-progress.json", JSON.stringify(kept, null, 1), "application/json");
  find("[data-progress-load]").onchange = async ({ target }) => {
    const status = find("[data-progress-status]");
    try {
      const loaded = JSON.parse(await target.files[0].text());
      if (typeof loaded.labs !== "object" || loaded.labs === null) throw new Error();
      for (const [lab, values] of Object.entries(loaded.labs)) keep(lab, values);
      status.textContent = text("loaded");
    } catch {
      status.textContent = text("not_loaded");
    }
    show();
  };
}
