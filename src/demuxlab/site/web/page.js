// What every page loads. Without it a page can be read; with it labs run, exercises are checked, documents searched.
import * as calculator from "./calculator.js";
import { find, language, root } from "./dom.js";
import * as offline from "./offline.js";
import * as progress from "./progress.js";
import { call, ready } from "./python.js";
import * as quiz from "./quiz.js";
import * as run from "./run.js";
import * as search from "./search.js";
import * as exercise from "./exercise.js";

// For scripts, and for the console: contract 11 of the design.
window.demuxlab = {
  get ready() {
    return ready();
  },
  run: (lab) => call("run", [lab, language]),
  grade: (lab, source) => call("grade", [lab, source, language]),
};

/** The first page's ?lab=04&lang=ko leads to that lab's page. */
function wantedPage(parameters) {
  const wanted = parameters.get("lab");
  if (!wanted || find("main").dataset.lab) return null;
  const number = wanted.padStart(2, "0").slice(0, 2);
  const link = [...document.querySelectorAll("#labs a")].find((each) => each.getAttribute("href").startsWith(`labs/${number}_`));
  if (!link) return null;
  const folder = (parameters.get("lang") ?? language) === "ko" ? `${root}ko/` : root || "./";
  return `${folder}${link.getAttribute("href")}${parameters.get("embed") ? "?embed=1" : ""}`;
}

function start() {
  const parameters = new URLSearchParams(location.search);
  const elsewhere = wantedPage(parameters);
  if (elsewhere) return location.replace(elsewhere);
  document.documentElement.classList.toggle("embed", parameters.get("embed") === "1");
  for (const element of document.querySelectorAll(".script")) element.hidden = false;
  const { lab } = find("main").dataset;
  const section = find("#run");
  if (section) run.setUp(section);
  if (lab) {
    exercise.setUp(lab);
    quiz.setUp(lab);
  }
  calculator.setUp();
  search.setUp();
  progress.setUp();
  offline.setUp();
  if (section || find("[data-calculator]")) ready().catch(() => {});
}

start();
