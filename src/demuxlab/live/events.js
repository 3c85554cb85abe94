// One stream of states for all tabs of a browser: over HTTP/1.1 it opens six connections to a host at most,
// and a seventh tab would wait for ever. So this file is a shared worker; where a browser has none, the page
// loads it itself and follows the host only while it can be seen.
"use strict";

// The host speaks once a second at least. Where its machine vanished, the connection says nothing, not even that.
const PATIENCE = 4000;

function follow(tell) {
  let source, silence;
  function open() {
    source = new EventSource("/live/events");
    source.onopen = () => {
      tell("online", true);
      // Browsers open a spare connection: a request on it tells the host whose it is.
      fetch("/live/events.js", { method: "HEAD" }).catch(() => {});
    };
    source.onerror = () => tell("online", false);
    source.addEventListener("you", event => tell("you", JSON.parse(event.data)));
    source.onmessage = event => {
      heard();
      tell("state", JSON.parse(event.data));
    };
    heard();
  }
  function heard() {
    clearTimeout(silence);
    silence = setTimeout(() => {
      tell("online", false);
      source.close();
      open();
    }, PATIENCE);
  }
  open();
  return () => { clearTimeout(silence); source.close(); };
}

if (typeof SharedWorkerGlobalScope !== "undefined") {
  const tabs = new Set(), newest = {};
  follow((name, value) => {
    newest[name] = value;
    for (const tab of tabs) tab.postMessage({ [name]: value });
  });
  self.onconnect = event => {
    const tab = event.ports[0];
    tabs.add(tab);
    tab.onmessage = () => tabs.delete(tab);
    tab.postMessage(newest);
  };
}
