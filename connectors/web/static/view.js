// The widget on the page: everything it shows stands in one shadow root, out of reach of the page's own styles.

class View {
  constructor(options, { onAsk, onStop, onOpen, onStartOver, onJudge, onLeave, pass, problem }) {
    this.options = options;
    this.onAsk = onAsk;
    this.onStop = onStop;
    this.onOpen = onOpen;
    this.onStartOver = onStartOver;
    this.problem = problem;
    this.features = {};
    this.person = {};
    this.isOpen = false;
    this.isBusy = false;
    this.unread = 0;
    this.dirty = new Set();
    this.answers = new Answers(this, { onJudge });
    this.files = new Files(options.hub, { pass, onChange: () => this.edited(), onProblem: (text) => this.speak(text) });
    this.offer = new Offer({ onLeave, onDismiss: () => (this.isOpen ? this.focusInside() : this.launcher.focus()) });
    this.build();
  }

  build() {
    const { title, position, direction, language, theme } = this.options;
    this.host = h("hubbub-chat", { "data-position": position, lang: language, dir: direction });
    this.root = this.host.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLES);
    this.root.adoptedStyleSheets = [sheet];

    this.badge = h("span", { class: "badge", hidden: true });
    this.launcher = h(
      "button",
      { type: "button", class: "launcher", "aria-expanded": "false", "aria-controls": "panel", click: () => this.toggle() },
      icon("chat"),
      icon("down"),
      this.badge,
    );
    this.spoken = h("div", { class: "hidden", "aria-live": "polite" });
    this.panel = h(
      "section",
      { id: "panel", class: "panel", role: "dialog", "aria-labelledby": "title", hidden: true },
      ...this.buildHeader(),
      ...this.buildLog(),
      this.buildFooter(),
      h("p", { class: "drop", "aria-hidden": "true" }, say("drop")),
      this.spoken,
    );
    this.panel.addEventListener("keydown", (event) => this.keyInPanel(event));
    this.takeDrops();
    this.frame = h("section", { class: "frame", "aria-label": title, "data-theme": theme, "data-state": "idle" }, this.panel, this.launcher);
    this.root.append(this.frame);
    this.paint();
    this.labelLauncher();
    visualViewport?.addEventListener("resize", () => this.fit());
    visualViewport?.addEventListener("scroll", () => this.fit());
    document.body.append(this.host);
  }

  buildHeader() {
    this.stateText = h("span", {}, say("idle"));
    this.confirm = h(
      "div",
      { class: "confirm", hidden: true, role: "group", "aria-label": say("fresh") },
      h("span", {}, say("forget")),
      h("button", { type: "button", class: "yes", click: () => this.startOver() }, say("over")),
      h("button", { type: "button", click: () => this.askToStartOver(false) }, say("keep")),
    );
    this.fresh = button(say("fresh"), { class: "tool", hidden: true, click: () => this.askToStartOver(true) }, icon("fresh"));
    this.title = h("h2", { id: "title", dir: "auto" }, this.options.title);
    const header = h(
      "header",
      {},
      h("span", { class: "avatar" }, mark()),
      h("div", { class: "heading" }, this.title, h("p", { class: "state" }, h("i", {}), this.stateText)),
      this.fresh,
      button(say("close"), { class: "tool", click: () => this.close() }, icon("close")),
    );
    return [header, this.confirm];
  }

  buildLog() {
    const { greeting, suggestions } = this.options;
    this.log = h("div", { class: "log", role: "log", "aria-live": "off", "aria-labelledby": "title", tabindex: "0" });
    this.greeting = h("p", {}, greeting);
    this.welcome = h("div", { class: "welcome" }, this.answers.bubble("assistant", this.greeting));
    this.chips = h("div", { class: "chips" });
    for (const text of suggestions) {
      this.chips.append(h("button", { type: "button", dir: "auto", click: () => this.submit(text) }, text));
    }
    this.log.append(this.welcome, this.answers.list, this.chips);
    this.log.addEventListener("scroll", () => this.watchScroll(), { passive: true });
    this.isPinned = true;
    new ResizeObserver(() => this.isPinned && this.scrollDown()).observe(this.log);
    this.latest = button(say("newest"), { class: "latest", hidden: true, click: () => this.scrollDown() }, icon("down"));
    return [this.log, this.latest];
  }

  buildFooter() {
    this.notice = h("p", { class: "notice", role: "status", hidden: true });
    this.input = h("textarea", { rows: "1", dir: "auto", "aria-label": say("message"), "aria-describedby": "problem", placeholder: say("hint"), enterkeyhint: "send" });
    this.send = h("button", { type: "submit", class: "send", "aria-label": say("send"), disabled: true }, icon("send"));
    this.stop = button(say("stop"), { class: "send stop", hidden: true, click: () => this.onStop() }, icon("stop"));
    this.warning = h("p", { id: "problem", class: "problem", hidden: true });
    const picker = h("input", { type: "file", multiple: true, hidden: true });
    picker.addEventListener("change", () => {
      this.files.add(picker.files);
      picker.value = "";
      this.input.focus();
    });
    this.clip = button(say("attach"), { class: "tool clip", hidden: true, click: () => picker.click() }, icon("clip"));
    const submit = (event) => {
      event.preventDefault();
      this.submit(this.input.value);
    };
    const form = h("form", { class: "composer", submit }, this.clip, picker, this.input, this.send, this.stop);
    this.input.addEventListener("input", () => this.edited());
    this.input.addEventListener("keydown", (event) => this.typed(event));
    this.input.addEventListener("paste", ({ clipboardData }) => clipboardData.files.length && this.files.add(clipboardData.files));
    this.footer = h("footer", {}, this.notice, this.files.list, form, this.warning, h("p", { class: "small" }, mark(), "Hubbub"));
    return this.footer;
  }

  takeDrops() {
    const hover = (event, isOver) => {
      if (!this.files.limits || !event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      this.panel.classList.toggle("dropping", isOver);
    };
    this.panel.addEventListener("dragover", (event) => hover(event, true));
    this.panel.addEventListener("dragleave", (event) => this.panel.contains(event.relatedTarget) || hover(event, false));
    this.panel.addEventListener("drop", (event) => {
      hover(event, false);
      if (event.defaultPrevented) this.files.add(event.dataTransfer.files);
    });
  }

  paint() {
    const { color } = this.options;
    if (!color || !CSS.supports("color", color)) return;
    this.frame.style.setProperty("--accent", color);
    this.frame.style.setProperty("--accent-end", `color-mix(in oklab, ${color}, #000 7%)`);
    this.frame.style.setProperty("--on-accent", readableOn(color));
  }

  // What the hub tells of the site, where the tag says nothing else.
  name({ title, greeting }) {
    this.options.title = this.title.textContent = title;
    this.greeting.textContent = greeting;
    this.frame.setAttribute("aria-label", title);
    this.labelLauncher();
  }

  // What the hub can do, once it has said so.
  enable(features, person) {
    this.features = features;
    this.person = person;
    this.files.limits = features.files;
    this.clip.hidden = !features.files;
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
    if (!this.offer.node.hidden) this.footer.prepend(this.offer.node);
    this.fit();
    this.scrollDown();
    this.onOpen();
    if (focus) this.focusInside();
  }

  // On a phone the focused field would bring up the keyboard over half of what there is to read.
  focusInside() {
    const isTouch = matchMedia("(pointer: coarse)").matches;
    if (isTouch && this.root.activeElement !== this.input) this.log.focus();
    else this.input.focus();
  }

  close() {
    this.isOpen = false;
    this.panel.hidden = true;
    this.frame.classList.remove("open");
    this.launcher.setAttribute("aria-expanded", "false");
    this.labelLauncher();
    if (this.isBusy) this.makeOffer();
    this.launcher.focus();
  }

  get isSheet() {
    return matchMedia("(max-width: 480px)").matches;
  }

  // The keyboard of a phone covers the page, or moves it up; the sheet fills what is left to see.
  fit() {
    const seen = this.isSheet ? visualViewport : null;
    this.panel.style.setProperty("--height", seen ? `${seen.height}px` : "");
    this.panel.style.setProperty("--top", seen ? `${seen.offsetTop}px` : "");
    this.panel.setAttribute("aria-modal", String(this.isSheet));
  }

  setUnread(count) {
    this.unread = count;
    this.badge.hidden = count === 0;
    this.badge.textContent = count > 9 ? `${number(9)}+` : number(count);
    this.labelLauncher();
  }

  labelLauncher() {
    const news = this.unread ? `, ${say("unread", number(this.unread))}` : "";
    this.launcher.setAttribute("aria-label", this.isOpen ? say("close") : say("open", this.options.title) + news);
  }

  askToStartOver(isAsked) {
    this.confirm.hidden = !isAsked;
    if (isAsked) this.confirm.querySelector("button").focus();
    else this.fresh.focus();
  }

  startOver() {
    this.confirm.hidden = true;
    this.offer.reset();
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
    if (event.key === "Tab" && this.isSheet) this.trap(event);
  }

  trap(event) {
    const stops = [...this.panel.querySelectorAll("button, input, textarea, a, summary, [tabindex='0']")].filter(
      (node) => !node.disabled && node.checkVisibility(),
    );
    const here = this.root.activeElement;
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

  // Whether there is something to send.
  get hasDraft() {
    return Boolean(this.input.value.trim()) || this.files.items.some(({ id }) => id);
  }

  edited() {
    const problem = this.problem(this.input.value);
    this.warning.hidden = !problem;
    this.warning.textContent = problem ?? "";
    this.send.disabled = !this.hasDraft || this.files.isBusy || Boolean(problem);
    this.offerStop();
    this.input.style.setProperty("height", "auto");
    this.input.style.setProperty("height", `${Math.min(this.input.scrollHeight, 140)}px`);
  }

  setBusy(isBusy) {
    if (isBusy && !this.isBusy) this.offerTimer = setTimeout(() => this.isOpen && this.makeOffer(), OFFER_MS);
    if (!isBusy) {
      clearTimeout(this.offerTimer);
      this.offer.hide();
    }
    this.isBusy = isBusy;
    this.offerStop();
  }

  // An answer that is not there yet may go by mail.
  makeOffer() {
    if (!this.features.mail || !this.offer.isOpen) return;
    this.offer.show(this.isOpen ? this.footer : this.frame, this.person.email);
    this.speak(say("mail"));
  }

  // While an answer comes there is nothing to send, unless the visitor writes on.
  offerStop() {
    const isOffered = this.isBusy && !this.hasDraft;
    if (isOffered === !this.stop.hidden) return;
    const hadFocus = [this.stop, this.send].includes(this.root.activeElement);
    this.stop.hidden = !isOffered;
    this.send.hidden = isOffered;
    if (hadFocus) this.focusInside();
  }

  submit(text) {
    const question = text.trim();
    const isWritten = text === this.input.value;
    if (this.problem(question) || (isWritten && this.files.isBusy)) return;
    if (!question && !(isWritten && this.hasDraft)) return;
    if (isWritten) this.input.value = "";
    this.onAsk(question, isWritten ? this.files.take() : []);
    this.edited();
    this.scrollDown();
    this.focusInside();
  }

  // Showing

  get isOnline() {
    return this.frame.dataset.state === "online";
  }

  showState(state) {
    this.frame.dataset.state = state;
    this.stateText.textContent = say(state);
    if (state === "online" || state === "idle") {
      clearTimeout(this.stateTimer);
      this.stateTimer = null;
      this.notice.hidden = true;
      return;
    }
    // A short drop is nobody's business; one that lasts is said, however often a new connection is tried meanwhile.
    this.stateTimer ??= setTimeout(() => {
      this.notice.textContent = say("offline");
      this.notice.hidden = false;
    }, 1500);
  }

  sync(entries) {
    this.answers.sync(entries);
    for (const entry of entries) this.draw(entry);
    this.chips.hidden = entries.length > 0;
    this.fresh.hidden = entries.length === 0;
  }

  draw(entry) {
    this.answers.nodes.get(entry)?.reveal.take(entry.text, { atOnce: entry.isOld || !this.isWatched });
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
    const entries = [...this.dirty].filter((entry) => this.answers.nodes.has(entry));
    this.dirty.clear();
    for (const entry of entries) {
      if (!this.answers.draw(entry)) this.drawSoon(entry);
      else if (entry.waitUntil && entry.state !== "done") entry.timer = inASecond(() => this.drawSoon(entry), entry.timer);
    }
    if (wasPinned) this.scrollDown();
    else this.watchScroll();
  }

  speak(text) {
    this.spoken.textContent = text;
  }

  // Tell a screen reader the whole answer once, not every token of it.
  announce(entry) {
    this.speak(entry.kind === "cancelled" ? say("stopped") : `${this.options.title}: ${entry.text}`);
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
