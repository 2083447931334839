// The pictures of the widget, drawn by the page itself: nothing is loaded.

const ICONS = {
  chat: "M12 3C6.5 3 2 6.8 2 11.5c0 2.3 1.1 4.4 2.9 5.9-.1 1.2-.6 2.3-1.4 3.2-.2.2 0 .5.2.5 1.9-.1 3.6-.7 4.9-1.7 1.1.3 2.2.5 3.4.5 5.5 0 10-3.8 10-8.5S17.5 3 12 3z",
  close: "M6 6l12 12M18 6L6 18",
  down: "M6 9l6 6 6-6",
  send: "M12 19V5M5.5 11.5L12 5l6.5 6.5",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h10v11H9zM5 15V4h10",
  check: "M5 12.5l4.5 4.5L19 7.5",
  fresh: "M20 11.5a8 8 0 1 1-2.5-5.8M20 3v4.5h-4.5",
  clip: "M20 11.5l-8.2 8.2a5 5 0 0 1-7-7l8.5-8.6a3.4 3.4 0 0 1 4.8 4.8l-8.4 8.4a1.7 1.7 0 0 1-2.4-2.4l7.6-7.6",
  up: "M7 11v9H4v-9zM7 11l4-8c1.7 0 2.6 1.3 2.3 3l-.6 3H18c1.5 0 2.4 1.2 2 2.6l-1.7 6.4c-.3 1.2-1.2 2-2.4 2H7",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
};

function svg(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function icon(name) {
  const node = svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: `icon icon-${name}` });
  node.append(svg("path", { d: ICONS[name] }));
  return node;
}

// Two bubbles that meet: the mark of Hubbub.
function mark() {
  const node = svg("svg", { viewBox: "0 0 32 32", "aria-hidden": "true", class: "mark" });
  node.append(
    svg("path", { d: "M13 5a9 9 0 0 0-7.6 13.8L4 23.5l5-1.2A9 9 0 1 0 13 5z", opacity: ".55" }),
    svg("path", { d: "M20.5 12a7.5 7.5 0 1 1-3.6 14.1L12.5 27.5l1.3-4A7.5 7.5 0 0 1 20.5 12z" }),
  );
  return node;
}
