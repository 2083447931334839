// Small parts of what the widget shows, which know nothing of the widget itself.

// As people would tell it: to 5 s above 10 s, to 30 s above 2 min.
function roundedSeconds(seconds) {
  const step = seconds <= 10 ? 1 : seconds <= 120 ? 5 : 30;
  return Math.max(1, Math.round(seconds / step) * step);
}

// What stands beside the dots; empty while there is nothing to tell.
function waitText(entry) {
  if (entry.isStopping) return say("stopping");
  if (!entry.waitUntil) return "";
  const left = (entry.waitUntil - Date.now()) / 1000;
  return left < 1 ? say("soon") : say("wait", quantity(roundedSeconds(left), "second"));
}

// Do something in a second, instead of what an earlier timer would have done.
function inASecond(action, earlier) {
  clearTimeout(earlier);
  return setTimeout(action, 1000);
}

function clock(at) {
  const time = new Date(at || Date.now());
  const shown = time.toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
  return h("time", { datetime: time.toISOString(), title: time.toLocaleString(locale) }, shown);
}

function sourceCard({ number, title, heading, quote, location, state }) {
  const isUrl = /^https?:\/\//.test(location);
  const node = h(
    "details",
    { class: "source", "data-number": String(number) },
    h(
      "summary",
      {},
      h("b", { class: "number" }, String(number)),
      h(
        "span",
        { class: "what" },
        h("span", { class: "name", dir: "auto" }, title),
        h("span", { class: "where", dir: "auto" }, heading),
        h("span", { class: "became" }, state === "changed" || state === "gone" ? say(state) : ""),
      ),
    ),
    h("blockquote", { dir: "auto" }, quote),
    h("p", { class: "location" }, icon("file"), isUrl ? link(location, location) : h("bdi", {}, location)),
  );
  node.addEventListener("toggle", () => node.open && node.scrollIntoView({ block: "nearest" }));
  return node;
}

// Pick what reads best on the accent colour: white or near-black. Source: WCAG 2.2, relative luminance.
function readableOn(color) {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return 1.05 / (luminance + 0.05) >= 3.5 ? "#fff" : "#14141f";
}

function button(label, attributes, ...children) {
  return h("button", { type: "button", "aria-label": label, title: label, ...attributes }, ...children);
}
