// Python in a worker: answers calls of demuxlab.site.browser one after another.
// Messages in: {call, arguments}. Out: {state}, {progress}, {answer}, {broken}; an answer is what
// `browser.answer` returns; after `broken`, which names the text that says why, Python answers no more.
import { start } from "./interpreter.mjs";
import { loadPyodide } from "./pyodide/pyodide.mjs";

const indexURL = new URL("./pyodide/", import.meta.url).href;
const zip = fetch(new URL("../course.zip", import.meta.url)).then((got) => {
  if (!got.ok) throw new Error(`course.zip: ${got.status}`);
  return got.arrayBuffer();
});
const answer = start(loadPyodide, { indexURL }, zip, (state) => postMessage({ state }));

answer.then(() => postMessage({ state: "ready" }), (error) => postMessage({ state: "failed", why: String(error.message ?? error) }));

onmessage = async ({ data }) => {
  const call = await answer;
  postMessage({ progress: "" });
  try {
    postMessage({ answer: call(data.call, data.arguments, (progress) => postMessage({ progress })) });
  } catch (error) {
    const why = String(error.message ?? error).trim().split("\n").pop();
    postMessage(error.name === "PythonError" && !why.startsWith("MemoryError") ? { answer: JSON.stringify({ error: why, cure: "" }) } : { broken: why.includes("call stack") ? "too_deep" : "no_memory" });
  }
};
