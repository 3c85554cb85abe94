// The section "Questions": a capture of the learner's own, and its questions.
import { bytesOf, find, language, make, save, text, working } from "./dom.js";
import { open } from "./packets.js";
import * as progress from "./progress.js";
import { call } from "./python.js";

export function setUp(lab) {
  const section = find("#quiz");
  const form = find("[data-quiz]", section);
  const answers = find("[data-answers]", section);
  const status = find("[data-quiz-status]", section);
  let student = "";
  form.student.value = progress.of(lab).student ?? "";

  working(form, status, async () => {
    student = form.student.value.trim();
    progress.keep(lab, { student });
    status.textContent = text("running");
    const made = await call("make_quiz", [lab, student, language]);
    await open(find("[data-quiz-packets]", section), made.capture);
    status.textContent = "";
    const file = `${lab}-${student.replace(/[^\p{L}\p{N}._-]/gu, "_")}.pcapng`;
    const button = make("button", { type: "button", onclick: () => save(file, bytesOf(made.capture)) }, text("quiz_save"));
    const wireshark = make("button", { type: "button" }, text("wireshark"));
    working(wireshark, status, async () => {
      const { open: dissect } = await import("./wireshark.js");
      await dissect(find("[data-quiz-shark]", section), file, bytesOf(made.capture), status);
    });
    answers.replaceChildren(make("p", { class: "bar" }, button, wireshark), ...made.questions.map(question), make("p", {}, make("button", { class: "primary" }, text("quiz_mark"))));
    answers.hidden = false;
  });

  working(answers, status, async () => {
    const given = Object.fromEntries(new FormData(answers));
    const marked = await call("check_quiz", [lab, student, given, language]);
    for (const each of marked.answers) {
      const place = find(`[data-mark="${each.id}"]`, answers);
      place.className = each.right ? "good" : "bad";
      place.textContent = each.right ? text("right") : text("wrong", { filter: each.filter, frames: each.frames?.join?.(", ") ?? each.frames });
    }
    status.textContent = text("quiz_result", marked);
    progress.keep(lab, { quiz: { right: marked.right, of: marked.of } });
  });
}

function question({ id, text: asked, choices }, number) {
  const mark = make("output", { "data-mark": id });
  const words = `${number + 1}. ${asked}`;
  if (!choices.length) return make("p", {}, make("label", {}, words, " ", make("input", { name: id, autocomplete: "off", size: 16 })), " ", mark);
  const options = choices.map((choice) => make("label", {}, make("input", { type: "radio", name: id, value: choice }), ` ${choice}`));
  return make("fieldset", {}, make("legend", {}, words), ...options, " ", mark);
}
