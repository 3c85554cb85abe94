// Search in the documents and handouts: every word must begin some word of a section.
import { find, language, make, root, text, up } from "./dom.js";

const MOST = 12;
let index = null;

export function setUp() {
  const form = find("[role=search]");
  if (!form) return;
  const place = find("[data-found]");
  form.onsubmit = (event) => event.preventDefault();
  form.words.oninput = async () => {
    index ??= fetch(`${root}assets/search.${language}.json`).then((got) => got.json());
    const wanted = form.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = wanted.length ? ranked(await index, wanted) : null;
    place.replaceChildren(...(found ? [found.length ? make("ul", {}, ...found.map(hit)) : make("p", {}, text("nothing_found"))] : []));
  };
}

function ranked(sections, wanted) {
  return sections
    .map((section) => ({ section, score: score(section, wanted) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, MOST)
    .map(({ section }) => section);
}

function score({ title, text: body }, wanted) {
  let sum = 0;
  for (const word of wanted) {
    const inTitle = title.toLowerCase().includes(word);
    const times = body.toLowerCase().split(word).length - 1;
    if (!inTitle && !times) return 0;
    sum += (inTitle ? 10 : 0) + Math.min(times, 5);
  }
  return sum;
}

function hit({ page, anchor, title, of, text: body }) {
  const name = of ? `${of} · ${title}` : title;
  return make("li", {}, make("a", { href: `${up}${page}#${anchor}` }, name), make("p", { class: "hint" }, `${body.slice(0, 140)}${body.length > 140 ? " …" : ""}`));
}
