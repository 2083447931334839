// Where it starts: reads the script tag's attributes and connects what is shown to what is said.

const script = document.currentScript ?? document.querySelector('script[src*="/widget.js"]');

function readOptions({ title, greeting, color, position, theme, suggestions, hub, open, site, identity, language }) {
  const chosen = chooseLanguage(language);
  const direction = speak(chosen);
  return {
    title: title || TITLE,
    greeting: greeting || GREETING || say("greeting"),
    color: color || "",
    position: position === "left" ? "left" : "right",
    theme: ["light", "dark"].includes(theme) ? theme : "auto",
    suggestions: (suggestions ?? "").split("|").map((text) => text.trim()).filter(Boolean).slice(0, 4),
    hub: hub ? `${hub.replace(/\/+$/, "")}/` : new URL(".", script.src).href,
    open: open === "true" || (open === "wide" && innerWidth >= 1100),
    site: site || "",
    identity: identity || "",
    language: chosen.locale,
    direction,
  };
}

function start() {
  const given = script.dataset;
  const options = readOptions(given);
  const view = new View(options, {
    onAsk: (text, files) => conversation.ask(text, files),
    onStop: () => conversation.stop(),
    onOpen: () => {
      conversation.markSeen();
      conversation.connection.start();
    },
    onStartOver: () => conversation.startOver(),
    onJudge: (entry, value) => {
      conversation.judge(entry, value);
      if (value) view.speak(say("thanks"));
    },
    onLeave: (email) => conversation.leave(email),
    pass: () => conversation.visitor.pass(),
    problem: (text) => conversation.problem(text),
  });
  const conversation = new Conversation(options.hub, {
    site: options.site,
    language: options.language,
    onChange: (entry) => {
      if (entry) view.draw(entry);
      else view.sync(conversation.entries);
      view.setBusy(conversation.isBusy);
      if (view.isOpen) conversation.markSeen();
      else view.setUnread(conversation.unseen);
    },
    onFinal: (entry) => view.announce(entry),
    onWait: (entry) => view.speak(waitText(entry)),
    onReady: () => view.enable(conversation.features, conversation.person),
    onLeft: (email, problem) => (problem ? view.offer.refuse(problem) : view.offer.keep(email)),
    onState: (state) => {
      view.showState(state);
      conversation?.entries.forEach((entry) => view.draw(entry));
    },
    onSite: ({ title, greeting }) =>
      view.name({
        title: given.title || title || options.title,
        greeting: given.greeting || greeting || options.greeting,
      }),
  });
  conversation.identify(options.identity);
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
    identify: (identity) => conversation.identify(String(identity)),
  };
}

// One widget per page, however often the tag stands there.
if (!window.Hubbub) {
  window.Hubbub = {};
  if (document.body) start();
  else addEventListener("DOMContentLoaded", start);
}
