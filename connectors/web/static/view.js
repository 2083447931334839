// The widget on the page: everything it shows stands in one shadow root, out of reach of the page's own styles.

const STOPPED = "Stopped.";
const STATES = { idle: "Ready", connecting: "Connecting…", online: "Online", waiting: "Reconnecting…" };

class View {
  constructor(options, { onAsk, onStop, onOpen, onStartOver, problem }) {
    this.options = options;
    this.onAsk = onAsk;
    this.onStop = onStop;
    this.onOpen = onOpen;
    this.onStartOver = onStartOver;
    this.problem = problem;
    this.nodes = new Map(); // entry -> its nodes
    this.isOpen = false;
    this.isBusy = false;
    this.unread = 0;
    this.dirty = new Set();
    this.build();
  }

  build() {
    const { title, greeting, suggestions } = this.options;
    this.host = h("hubbub-chat", { "data-position": this.options.position });
    const root = this.host.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLES);
    root.adoptedStyleSheets = [sheet];

    this.badge = h("span", { class: "badge", hidden: true });
    this.launcher = h(
      "button",
      { type: "button", class: "launcher", "aria-expanded": "false", "aria-controls": "panel", click: () => this.toggle() },
      icon("chat"),
      icon("down"),
      this.badge,
    );
    this.stateText = h("span", {}, STATES.idle);
    this.confirm = h(
      "div",
      { class: "confirm", hidden: true, role: "group", "aria-label": "Start a new conversation" },
      h("span", {}, "Start over? This page forgets the conversation."),
      h("button", { type: "button", class: "yes", click: () => this.startOver() }, "Start over"),
      h("button", { type: "button", click: () => this.askToStartOver(false) }, "Keep"),
    );
    this.fresh = h(
      "button",
      { type: "button", class: "tool", "aria-label": "New conversation", title: "New conversation", hidden: true, click: () => this.askToStartOver(true) },
      icon("fresh"),
    );
    const header = h(
      "header",
      {},
      h("span", { class: "avatar" }, mark()),
      h("div", { class: "heading" }, h("h2", { id: "title" }, title), h("p", { class: "state" }, h("i", {}), this.stateText)),
      this.fresh,
      h("button", { type: "button", class: "tool", "aria-label": "Close chat", title: "Close", click: () => this.close() }, icon("close")),
    );

    this.log = h("div", { class: "log", role: "log", "aria-live": "off", "aria-labelledby": "title", tabindex: "0" });
    this.welcome = h("div", { class: "welcome" }, this.bubble("assistant", h("p", {}, greeting)));
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Suggestions" });
    for (const text of suggestions) {
      this.chips.append(h("button", { type: "button", click: () => this.submit(text) }, text));
    }
    this.list = h("div", { class: "list" });
    this.log.append(this.welcome, this.list, this.chips);
    this.log.addEventListener("scroll", () => this.watchScroll(), { passive: true });
    this.isPinned = true;
    new ResizeObserver(() => this.isPinned && this.scrollDown()).observe(this.log);
    this.latest = h("button", { type: "button", class: "latest", hidden: true, "aria-label": "Go to the newest message", click: () => this.scrollDown() }, icon("down"));

    this.notice = h("p", { class: "notice", role: "status", hidden: true });
    this.spoken = h("div", { class: "hidden", "aria-live": "polite" });
    this.input = h("textarea", { rows: "1", "aria-label": "Your message", "aria-describedby": "problem", placeholder: "Write a message…", enterkeyhint: "send" });
    this.send = h("button", { type: "submit", class: "send", "aria-label": "Send message", disabled: true }, icon("send"));
    this.stop = h("button", { type: "button", class: "send stop", "aria-label": "Stop answering", title: "Stop (Esc)", hidden: true, click: () => this.onStop() }, icon("stop"));
    this.warning = h("p", { id: "problem", class: "problem", hidden: true });
    const form = h("form", { submit: (event) => (event.preventDefault(), this.submit(this.input.value)) }, this.input, this.send, this.stop);
    this.input.addEventListener("input", () => this.edited());
    this.input.addEventListener("keydown", (event) => this.typed(event));
    const footer = h("footer", {}, this.notice, form, this.warning, h("p", { class: "small" }, mark(), "Hubbub"));

    this.panel = h(
      "section",
      { id: "panel", class: "panel", role: "dialog", "aria-labelledby": "title", hidden: true },
      header,
      this.confirm,
      this.log,
      this.latest,
      footer,
      this.spoken,
    );
    this.panel.addEventListener("keydown", (event) => this.keyInPanel(event));
    this.frame = h("div", { class: "frame", "data-theme": this.options.theme, "data-state": "idle" }, this.panel, this.launcher);
    root.append(this.frame);
    this.paint();
    this.labelLauncher();
    visualViewport?.addEventListener("resize", () => this.fit());
    document.body.append(this.host);
  }

  paint() {
    const { color } = this.options;
    if (!color || !CSS.supports("color", color)) return;
    this.frame.style.setProperty("--accent", color);
    this.frame.style.setProperty("--accent-end", `color-mix(in oklab, ${color}, #000 7%)`);
    this.frame.style.setProperty("--on-accent", readableOn(color));
  }

  // Opening and closing

  toggle() {
    if (this.isOpen) this.close();
    else this.open();
  }

  open({ focus = true } = {}) {
    this.isOpen = true;
    this.panel.hidden = false;
    this.frame.classList.add("open");
    this.launcher.setAttribute("aria-expanded", "true");
    this.setUnread(0);
    this.fit();
    this.scrollDown();
    this.onOpen();
    if (focus) this.focusInside();
  }

  // On a phone the focused field would bring up the keyboard over half of what there is to read.
  focusInside() {
    const isTouch = matchMedia("(pointer: coarse)").matches;
    if (isTouch && this.host.shadowRoot.activeElement !== this.input) this.log.focus();
    else this.input.focus();
  }

  close() {
    this.isOpen = false;
    this.panel.hidden = true;
    this.frame.classList.remove("open");
    this.launcher.setAttribute("aria-expanded", "false");
    this.labelLauncher();
    this.launcher.focus();
  }

  get isSheet() {
    return matchMedia("(max-width: 480px)").matches;
  }

  // The keyboard of a phone covers the page; the sheet ends above it.
  fit() {
    this.panel.style.setProperty("--height", this.isSheet && visualViewport ? `${visualViewport.height}px` : "");
    this.panel.setAttribute("aria-modal", String(this.isSheet));
  }

  setUnread(count) {
    this.unread = count;
    this.badge.hidden = count === 0;
    this.badge.textContent = count > 9 ? "9+" : String(count);
    this.labelLauncher();
  }

  labelLauncher() {
    const news = this.unread ? `, ${this.unread} unread` : "";
    this.launcher.setAttribute("aria-label", this.isOpen ? "Close chat" : `Open chat: ${this.options.title}${news}`);
  }

  askToStartOver(isAsked) {
    this.confirm.hidden = !isAsked;
    if (isAsked) this.confirm.querySelector("button").focus();
    else this.fresh.focus();
  }

  startOver() {
    this.confirm.hidden = true;
    this.onStartOver();
    this.focusInside();
  }

  keyInPanel(event) {
    if (event.key === "Escape") {
      event.stopPropagation();
      if (!this.confirm.hidden) this.askToStartOver(false);
      else if (this.isBusy) this.onStop();
      else this.close();
    }
    if (event.key !== "Tab" || !this.isSheet) return;
    const stops = [...this.panel.querySelectorAll("button, textarea, a, summary, [tabindex='0']")].filter(
      (node) => !node.disabled && node.checkVisibility(),
    );
    const here = this.host.shadowRoot.activeElement;
    const [first, last] = [stops[0], stops.at(-1)];
    if (here === (event.shiftKey ? first : last)) {
      event.preventDefault();
      (event.shiftKey ? last : first).focus();
    }
  }

  // Writing

  typed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.submit(this.input.value);
  }

  edited() {
    const problem = this.problem(this.input.value);
    this.warning.hidden = !problem;
    this.warning.textContent = problem ?? "";
    this.send.disabled = !this.input.value.trim() || Boolean(problem);
    this.offerStop();
    this.input.style.setProperty("height", "auto");
    this.input.style.setProperty("height", `${Math.min(this.input.scrollHeight, 140)}px`);
  }

  setBusy(isBusy) {
    this.isBusy = isBusy;
    this.offerStop();
  }

  // While an answer comes there is nothing to send, unless the visitor writes on.
  offerStop() {
    const isOffered = this.isBusy && !this.input.value.trim();
    if (isOffered === !this.stop.hidden) return;
    const hadFocus = [this.stop, this.send].includes(this.host.shadowRoot.activeElement);
    this.stop.hidden = !isOffered;
    this.send.hidden = isOffered;
    if (hadFocus) this.focusInside();
  }

  submit(text) {
    const question = text.trim();
    if (!question || this.problem(question)) return;
    if (text === this.input.value) this.input.value = "";
    this.edited();
    this.onAsk(question);
    this.scrollDown();
    this.focusInside();
  }

  // Showing

  showState(state) {
    this.frame.dataset.state = state;
    this.stateText.textContent = STATES[state];
    if (state === "online" || state === "idle") {
      clearTimeout(this.stateTimer);
      this.stateTimer = null;
      this.notice.hidden = true;
      return;
    }
    // A short drop is nobody's business; one that lasts is said, however often a new connection is tried meanwhile.
    this.stateTimer ??= setTimeout(() => {
      this.notice.textContent = "No connection. Messages you write are kept and sent when it is back.";
      this.notice.hidden = false;
    }, 1500);
  }

  // Put the nodes of the entries in order; unchanged ones stay where they are.
  sync(entries) {
    for (const [entry, nodes] of this.nodes) {
      if (entries.includes(entry)) continue;
      nodes.root.remove();
      this.nodes.delete(entry);
    }
    entries.forEach((entry, position) => {
      if (!this.nodes.has(entry)) this.nodes.set(entry, this.newEntry(entry));
      const { root } = this.nodes.get(entry);
      if (this.list.children[position] !== root) this.list.insertBefore(root, this.list.children[position] ?? null);
      this.draw(entry);
    });
    this.chips.hidden = entries.length > 0;
    this.fresh.hidden = entries.length === 0;
  }

  draw(entry) {
    this.nodes.get(entry)?.reveal.take(entry.text, { atOnce: entry.isOld || !this.isWatched });
    this.drawSoon(entry);
  }

  get isWatched() {
    return this.isOpen && !document.hidden && !matchMedia("(prefers-reduced-motion: reduce)").matches;
  }

  // Draw at the next frame of the screen: deltas may come faster than anybody can read.
  drawSoon(entry) {
    if (this.dirty.size === 0) requestAnimationFrame(() => this.drawAll());
    this.dirty.add(entry);
  }

  drawAll() {
    const wasPinned = this.isPinned;
    const entries = [...this.dirty].filter((entry) => this.nodes.has(entry));
    this.dirty.clear();
    for (const entry of entries) {
      const nodes = this.nodes.get(entry);
      this.drawEntry(entry, nodes);
      if (!nodes.reveal.isWhole) this.drawSoon(entry);
      else if (entry.waitUntil && entry.state !== "done") nodes.timer = inASecond(() => this.drawSoon(entry), nodes.timer);
    }
    if (wasPinned) this.scrollDown();
    else this.watchScroll();
  }

  bubble(who, ...children) {
    const label = h("span", { class: "hidden" }, who === "visitor" ? "You: " : `${this.options.title}: `);
    const body = h("div", { class: "bubble", dir: "auto" }, label, ...children);
    return h("div", { class: `row ${who}` }, ...(who === "visitor" ? [] : [h("span", { class: "avatar" }, mark())]), body);
  }

  newEntry(entry) {
    const question = this.bubble("visitor", h("p", { class: "plain" }));
    const body = h("div", { class: "body" });
    const extra = h("div", { class: "extra" });
    const answer = this.bubble("assistant", body);
    answer.append(extra);
    const status = h("p", { class: "status" });
    const root = h("div", { class: "entry" }, question, status, answer);
    return { root, question, answer, body, extra, status, reveal: new Reveal(), drawn: "" };
  }

  drawEntry(entry, nodes) {
    const { root, question, answer, body, extra, status, reveal } = nodes;
    const text = reveal.next();
    const state = reveal.isWhole ? entry.state : "streaming"; // the answer is done for a reader once it is shown
    root.dataset.state = state;
    root.dataset.kind = entry.kind;
    question.hidden = !entry.question;
    question.querySelector(".plain").textContent = entry.question;
    status.textContent = entry.state === "failed" || entry.state === "sending" ? (entry.problem ?? "") : "";
    status.hidden = !status.textContent;
    answer.hidden = entry.state === "failed" || (entry.state === "sending" && this.frame.dataset.state !== "online");
    const wait = state === "done" || text ? "" : waitText(entry);
    const drawn = `${state} ${entry.kind} ${wait} ${text}`;
    if (drawn === nodes.drawn) return;
    nodes.drawn = drawn;
    const stops = () => [...body.querySelectorAll("a, button, pre")];
    const held = stops().indexOf(this.host.shadowRoot.activeElement);
    if (!text && state !== "done") {
      const dots = h("span", { class: "dots", role: "img", "aria-label": wait || WAITS.writing() }, h("i"), h("i"), h("i"));
      body.replaceChildren(dots, ...(wait ? [h("p", { class: "wait" }, wait)] : []));
    } else if (entry.kind === "cancelled") {
      body.replaceChildren(h("p", {}, STOPPED));
    } else {
      body.replaceChildren(renderMarkdown(text, (number) => this.citation(entry, nodes, number)));
    }
    stops()[held]?.focus({ preventScroll: true }); // its node is another one now
    body.setAttribute("aria-busy", String(state !== "done"));
    extra.replaceChildren(...(state === "done" && entry.kind !== "cancelled" ? this.belowAnswer(entry) : []));
  }

  belowAnswer(entry) {
    const below = [];
    if (entry.sources.length) {
      const cards = entry.sources.map((source) => sourceCard(source));
      below.push(h("div", { class: "sources", role: "group", "aria-label": "Sources" }, ...cards));
    }
    below.push(h("div", { class: "meta" }, clock(entry.answeredAt), copyButton(() => entry.text, "Copy answer")));
    return below;
  }

  citation(entry, nodes, number) {
    if (!entry.sources.some((source) => source.number === number)) return null;
    const open = () => {
      const card = nodes.extra.querySelector(`[data-number="${number}"]`);
      if (!card) return; // the text is still being shown
      card.open = true;
      card.querySelector("summary").focus();
    };
    return h("button", { type: "button", class: "cite", "aria-label": `Source ${number}`, click: open }, String(number));
  }

  // Tell a screen reader the whole answer once, not every token of it.
  announce(entry) {
    this.spoken.textContent = entry.kind === "cancelled" ? STOPPED : `${this.options.title}: ${entry.text}`;
  }

  // Once for each turn, not every second of it.
  announceWait(entry) {
    this.spoken.textContent = waitText(entry);
  }

  isAtEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 80;
  }

  watchScroll() {
    this.isPinned = this.isAtEnd();
    this.latest.hidden = this.isPinned;
  }

  scrollDown() {
    this.log.scrollTop = this.log.scrollHeight;
    this.isPinned = true;
    this.latest.hidden = true;
  }
}
