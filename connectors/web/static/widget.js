// Where it starts: reads the script tag's attributes and connects what is shown to what is said.

const script = document.currentScript ?? document.querySelector('script[src*="/widget.js"]');

function readOptions({ title, greeting, color, position, theme, suggestions, hub, open }) {
  return {
    title: title || TITLE,
    greeting: greeting || GREETING,
    color: color || "",
    position: position === "left" ? "left" : "right",
    theme: ["light", "dark"].includes(theme) ? theme : "auto",
    suggestions: (suggestions ?? "").split("|").map((text) => text.trim()).filter(Boolean).slice(0, 4),
    hub: hub ? `${hub.replace(/\/+$/, "")}/` : new URL(".", script.src).href,
    open: open === "true" || (open === "wide" && innerWidth >= 1100),
  };
}

function start() {
  const options = readOptions(script.dataset);
  const address = new URL("ws/chat", options.hub);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";

  const view = new View(options, {
    onAsk: (text) => conversation.ask(text),
    onStop: () => conversation.stop(),
    onOpen: () => {
      conversation.markSeen();
      conversation.connection.start();
    },
    onStartOver: () => conversation.startOver(),
    problem: (text) => conversation.problem(text),
  });
  const conversation = new Conversation(address.href, {
    onChange: (entry) => {
      if (entry) view.draw(entry);
      else view.sync(conversation.entries);
      view.setBusy(conversation.isBusy);
      if (view.isOpen) conversation.markSeen();
      else view.setUnread(conversation.unseen);
    },
    onFinal: (entry) => view.announce(entry),
    onWait: (entry) => view.announceWait(entry),
    onState: (state) => {
      view.showState(state);
      conversation?.entries.forEach((entry) => view.draw(entry));
    },
  });
  view.sync(conversation.entries);
  if (options.open) view.open({ focus: false });
  if (conversation.isKnown) conversation.connection.start();

  window.Hubbub = {
    open: () => view.open(),
    close: () => view.close(),
    ask: (text) => {
      view.open();
      view.submit(String(text));
    },
    stop: () => conversation.stop(),
  };
}

// One widget per page, however often the tag stands there.
if (!window.Hubbub) {
  window.Hubbub = {};
  if (document.body) start();
  else addEventListener("DOMContentLoaded", start);
}
