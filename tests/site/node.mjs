// Answers calls of demuxlab.site.browser in Node, as assets/worker.js does in a browser.
// usage: node node.mjs SITE; a call a line on standard input, ["run", ["04", "en"]]; an answer a line, as JSON.
import fs from "fs";
import readline from "readline";
import { pathToFileURL } from "url";

const site = process.argv[2];
const { loadPyodide } = await import(pathToFileURL(`${site}/assets/pyodide/pyodide.mjs`));
const [, start] = fs.readFileSync(`${site}/assets/worker.js`, "utf8").match(/const START = `([^`]*)`/);
const python = await loadPyodide({ stdout: () => {}, stderr: () => {} });
python.FS.mkdirTree("/course");
python.unpackArchive(new Uint8Array(fs.readFileSync(`${site}/course.zip`)), "zip", { extractDir: "/course" });
const answer = python.runPython(start);
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [name, values] = JSON.parse(line);
  console.log(answer(name, python.toPy(values)));
}
