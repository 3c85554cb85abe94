// The section "Run": the packets, what was printed, the report in a frame, files to save, Wireshark on demand.
import { bytesOf, find, language, save, text, working } from "./dom.js";
import { show } from "./packets.js";
import { call, onState } from "./python.js";

// In the frame the report begins with its ladder; the saved file has all of it.
const LADDER_FIRST = "<style>.page > header, main > :has(~ #ladder) { display: none }</style>";

export function setUp(section) {
  const { lab } = section.dataset;
  const status = find("[data-status]", section);
  let result = null;
  onState((state) => {
    if (state !== "ready") status.textContent = text(state === "failed" ? "failed" : state);
    else if ([text("loading"), text("importing")].includes(status.textContent)) status.textContent = "";
  });
  working(find("[data-run]", section), status, async () => {
    status.textContent = text("running");
    result = await call("run", [lab, language]);
    find("[data-result]", section).hidden = false;
    show(section, result.packets);
    find("[data-lines]", section).textContent = result.lines.join("\n");
    find("[data-report]", section).srcdoc = result.report.replace("</head>", `${LADDER_FIRST}</head>`);
    find("[data-shark]", section).hidden = true;
    status.textContent = text(result.ok ? "run_ok" : "run_bad");
  });
  find('[data-save="capture"]', section).onclick = () => save(`${lab}.pcapng`, bytesOf(result.capture));
  find('[data-save="report"]', section).onclick = () => save(`${lab}.html`, result.report, "text/html");
  working(find("[data-wireshark]", section), status, async () => {
    const { open } = await import("./wireshark.js");
    await open(find("[data-shark]", section), `${lab}.pcapng`, bytesOf(result.capture), status);
  });
}
