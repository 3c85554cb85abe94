// Plays the ladder: arrow after arrow, with the steps of each lookup beside it. Without this script the page is
// whole: every arrow is there, and each row opens to its steps.
"use strict";
const box = document.querySelector(".ladder-box");
const bar = document.querySelector(".play");
const [back, play, next, all] = bar.querySelectorAll("button");
const beside = document.querySelector(".beside");
const segments = [...box.querySelectorAll(".segment")];
const SECONDS_PER_ARROW = 2;
let shown = segments.length; // how many arrows are drawn
let timer = 0;

function draw(count, moving) {
  shown = Math.max(0, Math.min(count, segments.length));
  segments.forEach((segment, number) => {
    segment.classList.toggle("later", number >= shown);
    segment.classList.toggle("now", moving && number === shown - 1);
    segment.open = false;
  });
  const segment = segments[shown - 1];
  beside.hidden = !moving || !segment;
  if (!beside.hidden) {
    beside.replaceChildren(...segment.querySelector(".why").cloneNode(true).childNodes);
    segment.scrollIntoView({ block: "nearest" });
  }
  back.disabled = shown === 0;
  next.disabled = shown === segments.length;
}

function pause() {
  clearInterval(timer);
  timer = 0;
  play.textContent = play.dataset.play;
}

function step() {
  draw(shown + 1, true);
  if (shown === segments.length) pause();
}

play.addEventListener("click", () => {
  if (timer) return pause();
  if (shown === segments.length) draw(0, true);
  play.textContent = play.dataset.pause;
  timer = setInterval(step, 1000 * SECONDS_PER_ARROW);
  step();
});
back.addEventListener("click", () => { pause(); draw(shown - 1, true); });
next.addEventListener("click", () => { pause(); step(); });
all.addEventListener("click", () => { pause(); draw(segments.length, false); });
bar.hidden = false;
draw(segments.length, false);
