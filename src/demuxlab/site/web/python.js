// The page's side of the worker: one call at a time; a call that shows no progress for too long is stopped.
import { root, text } from "./dom.js";

const SECONDS = { grade: 8, run: 120, make_quiz: 120, check_quiz: 120, report: 60, packets: 60, which: 20 };
const BEFORE_THE_FIRST_CHECK = 60; // nothing of the learner's runs yet
const SLOW_IMPORT = 1.7; // seconds that Python's start takes at most where 8 seconds are enough for a check
let slowness = 1;
let importing = 0;

/** What a call ends with when its worker was stopped, after `seconds` or because of what `broken` names; `check` is
 *  the last progress that it reported. */
export class Stopped extends Error {
  constructor(seconds, check, broken) {
    super(text(broken ?? (check ? "looped" : "run_looped"), { seconds, name: check }));
    this.seconds = seconds;
    this.check = check;
    this.broken = broken;
  }
}

let worker;
let listener = null;
let last = Promise.resolve();
let resolveReady, rejectReady;
/** Resolved once Python answers calls; loading begins when somebody asks for it. */
let readiness = null;
const watchers = new Set();

export function onState(watch) {
  watchers.add(watch);
}

export function ready() {
  return (readiness ??= begin());
}

async function begin() {
  await keptByService();
  const started = new Promise((resolve, reject) => ([resolveReady, rejectReady] = [resolve, reject]));
  spawn();
  return started;
}

/** Wait a moment for the service worker, so that what is loaded now is kept for later. */
async function keptByService() {
  const service = navigator.serviceWorker;
  if (!service || service.controller) return;
  const controlled = new Promise((resolve) => service.addEventListener("controllerchange", resolve, { once: true }));
  await Promise.race([controlled, new Promise((resolve) => setTimeout(resolve, 3000))]);
}

function spawn() {
  worker = new Worker(new URL(`${root}assets/worker.js`, document.baseURI), { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.state) {
      watchers.forEach((watch) => watch(data.state));
      if (data.state === "importing") importing = performance.now();
      if (data.state === "ready") slowness = Math.max(1, (performance.now() - importing) / 1000 / SLOW_IMPORT);
      if (data.state === "ready") resolveReady();
      if (data.state === "failed") rejectReady(new Error(data.why));
    }
    listener?.(data);
  };
  worker.onerror = (event) => {
    rejectReady(new Error(event.message));
    listener?.({ state: "failed", why: event.message });
  };
}

/** Call a function of demuxlab.site.browser; `progress` gets what the call reports. */
export function call(name, values, progress = () => {}) {
  const done = last.then(() => one(name, values, progress));
  last = done.catch(() => {});
  return done;
}

async function one(name, values, progress) {
  await ready();
  const seconds = Math.ceil(SECONDS[name] * slowness);
  return new Promise((resolve, reject) => {
    let check = "";
    let timer;
    const watch = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stop(), 1000 * (name === "grade" && !check ? BEFORE_THE_FIRST_CHECK * slowness : seconds));
    };
    const stop = (broken) => {
      clearTimeout(timer);
      listener = null;
      worker.terminate();
      readiness = new Promise((resolve, reject) => ([resolveReady, rejectReady] = [resolve, reject]));
      spawn();
      reject(new Stopped(seconds, check, broken));
    };
    listener = (data) => {
      if ("progress" in data) {
        check = data.progress || check;
        if (data.progress) progress(data.progress);
        watch();
      }
      if ("broken" in data) stop(data.broken);
      if ("answer" in data || data.state === "failed") {
        clearTimeout(timer);
        listener = null;
        const got = data.answer ? JSON.parse(data.answer) : { error: data.why };
        if ("value" in got) resolve(got.value);
        else reject(new Error([got.error, got.cure].filter(Boolean).join(": ")));
      }
    };
    worker.postMessage({ call: name, arguments: values });
  });
}
