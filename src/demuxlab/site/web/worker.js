// Python in a worker: unpacks course.zip, and answers calls of demuxlab.site.browser one after another.
// Messages in: {call, arguments}. Out: {state}, {progress}, {answer}; an answer is what `browser.answer` returns.
import { loadPyodide } from "./pyodide/pyodide.mjs";

const START = `
import os, sys
sys.dont_write_bytecode = True
os.chdir("/course")
sys.path.insert(0, "/course/lib")
import logging
logging.raiseExceptions = False
from demuxlab.site import browser
browser.prepare()
browser.answer
`;

const answer = start();

async function start() {
  postMessage({ state: "loading" });
  const folder = new URL("./pyodide/", import.meta.url).href;
  const zip = fetch(new URL("../course.zip", import.meta.url)).then((got) => {
    if (!got.ok) throw new Error(`course.zip: ${got.status}`);
    return got.arrayBuffer();
  });
  const python = await loadPyodide({ indexURL: folder, stdout: () => {}, stderr: () => {} });
  postMessage({ state: "importing" });
  python.FS.mkdirTree("/course");
  python.unpackArchive(new Uint8Array(await zip), "zip", { extractDir: "/course" });
  const call = python.runPython(START);
  postMessage({ state: "ready" });
  return (name, values) => {
    const list = python.toPy(values);
    try {
      return call(name, list, (progress) => postMessage({ progress }));
    } finally {
      list.destroy();
    }
  };
}

answer.catch((error) => postMessage({ state: "failed", why: String(error.message ?? error) }));

onmessage = async ({ data }) => {
  const call = await answer;
  postMessage({ progress: "" });
  try {
    postMessage({ answer: call(data.call, data.arguments) });
  } catch (error) {
    postMessage({ answer: JSON.stringify({ error: String(error.message ?? error).trim().split("\n").pop(), cure: "" }) });
  }
};
