// The conversation as it is shown: a question with its files, and below it the answer that grows.

class Answers {
  // `view`: whose root, options, features and state these entries are drawn by.
  constructor(view, { onJudge }) {
    this.view = view;
    this.onJudge = onJudge;
    this.nodes = new Map(); // entry -> its nodes
    this.list = h("div", { class: "list" });
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
    });
  }

  bubble(who, ...children) {
    const { title, direction } = this.view.options;
    // The label has a direction of its own, or it would decide that of what was said.
    const label = h("span", { class: "hidden", dir: direction }, `${who === "visitor" ? say("you") : title}: `);
    const body = h("div", { class: "bubble", dir: "auto" }, label, ...children);
    return h("div", { class: `row ${who}` }, ...(who === "visitor" ? [] : [h("span", { class: "avatar" }, mark())]), body);
  }

  newEntry(entry) {
    const files = entry.files.map(({ name }) => h("p", { class: "sent" }, icon("file"), h("bdi", {}, name)));
    const question = this.bubble("visitor", h("p", { class: "plain" }), ...files);
    const body = h("div", { class: "body" });
    const extra = h("div", { class: "extra" });
    const answer = this.bubble("assistant", body);
    answer.append(extra);
    const status = h("p", { class: "status" });
    const root = h("div", { class: "entry" }, question, status, answer);
    return { root, question, answer, body, extra, status, reveal: new Reveal(), drawn: "" };
  }

  // Returns whether all of the answer is on the screen.
  draw(entry) {
    const nodes = this.nodes.get(entry);
    const { root, question, answer, body, extra, status, reveal } = nodes;
    const text = reveal.next();
    const state = reveal.isWhole ? entry.state : "streaming"; // the answer is done for a reader once it is shown
    root.dataset.state = state;
    root.dataset.kind = entry.kind;
    const plain = question.querySelector(".plain");
    question.hidden = !entry.question && !entry.files.length;
    plain.textContent = entry.question;
    plain.hidden = !entry.question;
    status.textContent = entry.state === "failed" || entry.state === "sending" ? (entry.problem ?? "") : "";
    status.hidden = !status.textContent;
    answer.hidden = entry.state === "failed" || (entry.state === "sending" && !this.view.isOnline);
    const wait = state === "done" || text ? "" : waitText(entry);
    const drawn = `${state} ${entry.kind} ${wait} ${entry.sources.map((source) => source.state)} ${text}`;
    if (drawn !== nodes.drawn) {
      nodes.drawn = drawn;
      this.fill(entry, nodes, { text, state, wait });
      body.setAttribute("aria-busy", String(state !== "done"));
      extra.replaceChildren(...(state === "done" && entry.kind !== "cancelled" ? this.below(entry) : []));
    }
    for (const node of extra.querySelectorAll(".judge")) {
      node.setAttribute("aria-pressed", String(node.dataset.value === entry.judgement));
    }
    return reveal.isWhole;
  }

  fill(entry, nodes, { text, state, wait }) {
    const { body } = nodes;
    const stops = () => [...body.querySelectorAll("a, button, pre")];
    const held = stops().indexOf(this.view.root.activeElement);
    if (!text && state !== "done") {
      const dots = h("span", { class: "dots", role: "img", "aria-label": wait || say("writing") }, h("i"), h("i"), h("i"));
      body.replaceChildren(dots, ...(wait ? [h("p", { class: "wait" }, wait)] : []));
    } else if (entry.kind === "cancelled") {
      body.replaceChildren(h("p", {}, say("stopped")));
    } else {
      body.replaceChildren(renderMarkdown(text, (number) => this.citation(entry, nodes, number)));
    }
    stops()[held]?.focus({ preventScroll: true }); // its node is another one now
  }

  below(entry) {
    const below = [];
    if (entry.sources.length) {
      const cards = entry.sources.map((source) => sourceCard(source));
      below.push(h("div", { class: "sources", role: "group", "aria-label": say("sources") }, ...cards));
    }
    const buttons = [copyButton(() => entry.text, say("copy"))];
    if (this.view.features.feedback && entry.turn && entry.kind === "answer") {
      buttons.push(this.judgeButton(entry, "up"), this.judgeButton(entry, "down"));
    }
    below.push(h("div", { class: "meta" }, clock(entry.answeredAt), ...buttons));
    return below;
  }

  judgeButton(entry, value) {
    const click = () => this.onJudge(entry, entry.judgement === value ? "" : value);
    return button(say(value), { class: `copy judge ${value}`, "data-value": value, "aria-pressed": "false", click }, icon("up"));
  }

  citation(entry, nodes, number) {
    if (!entry.sources.some((source) => source.number === number)) return null;
    const open = () => {
      const card = nodes.extra.querySelector(`[data-number="${number}"]`);
      if (!card) return; // the text is still being shown
      card.open = true;
      card.querySelector("summary").focus();
    };
    return h("button", { type: "button", class: "cite", "aria-label": say("source", number), click: open }, String(number));
  }
}
