// The service worker keeps the site for use without a network. It needs https, or this machine's own server.
import { find, root, text } from "./dom.js";
import { ready } from "./python.js";

export async function setUp() {
  const service = navigator.serviceWorker;
  if (!service) return;
  service.addEventListener("message", ({ data }) => {
    if (data.kept) find("#offline").textContent = text("offline");
  });
  try {
    const { active } = await service.register(`${root}service.js`, { scope: root || "./" }).then(() => service.ready);
    // First what this page needs now, then all the rest.
    if (find("#run, [data-calculator]")) await ready().catch(() => {});
    active.postMessage("keep");
  } catch {
    // The page works without it, as long as there is a network.
  }
}
