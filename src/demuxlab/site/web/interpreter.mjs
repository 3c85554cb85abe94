// Python of course.zip, in a worker of the page (worker.js) and in Node (node.mjs).

/** Bytes that Python may use at most, as many as demuxlab grade allows; the course itself takes about 100 MB. A file
 *  that asks for more gets a MemoryError, and the tab lives on. */
export const MOST_MEMORY = 512 << 20;
const PAGE = 65536;
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

/** Pyodide's memory grows by this one function, which it lets fail: malloc(3) gives NULL then. */
function bound(most) {
  const grow = WebAssembly.Memory.prototype.grow;
  WebAssembly.Memory.prototype.grow = function (pages) {
    if (this.buffer.byteLength + pages * PAGE > most) throw new RangeError("no more memory");
    return grow.call(this, pages);
  };
}

/** Unpack the course and import it. Return a function (name, values, progress) that gives an answer as JSON. */
export async function start(loadPyodide, options, zip, state = () => {}) {
  bound(MOST_MEMORY);
  state("loading");
  const python = await loadPyodide({ stdout: () => {}, stderr: () => {}, ...options });
  state("importing");
  python.FS.mkdirTree("/course");
  python.unpackArchive(new Uint8Array(await zip), "zip", { extractDir: "/course" });
  const call = python.runPython(START);
  return (name, values, progress) => {
    const list = python.toPy(values);
    try {
      return progress ? call(name, list, progress) : call(name, list);
    } finally {
      list.destroy();
    }
  };
}
