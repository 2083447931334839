// What was said: questions with their answers, kept in step with the hub across drops, reloads and other tabs.

const PENDING_HOURS = 24;
const QUIET_MS = 15000;

// An entry that still gets an answer.
function isOpen(entry) {
  return !["done", "past", "failed"].includes(entry.state);
}

// A cancelled question is undone: after the next visit nobody knows of it.
function isAnswered(entry) {
  return entry.state === "done" && entry.kind !== "cancelled";
}

// Whom a signature names; whether it is true only the hub can tell.
function subjectOf(identity) {
  try {
    return JSON.parse(atob(identity.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub;
  } catch {
    return identity;
  }
}

class Conversation {
  // `onChange(entry)`: one entry changed; null: entries came, went or moved. `onFinal(entry)`: an answer is there.
  // `onWait(entry)`: others come first. `onReady()`: what the hub can do is known. `onLeft(email, problem)`: answers go
  // there when nobody is here any more, or why not.
  constructor(hub, { site, language, onChange, onFinal, onWait, onReady, onLeft, onState, onSite }) {
    const url = new URL("ws/chat", hub);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const prefix = `hubbub ${url.href} ${site && `${site} `}`;
    this.store = new Store("localStorage", prefix);
    this.unsent = new Store("sessionStorage", prefix);
    this.visitor = new Visitor(hub, this.store, { site, language, onSite });
    this.onChange = onChange;
    this.onFinal = onFinal;
    this.onWait = onWait;
    this.onReady = onReady;
    this.onLeft = onLeft;
    this.entries = [];
    this.features = {};
    this.person = {};
    this.leaving = ""; // the address that waits for a connection
    this.limits = { text_chars: 8000, frame_bytes: 16384 };
    this.inFlight = null; // the entry whose message waits for `accepted`: one at a time keeps their order
    this.retry = null;
    for (const kept of this.unsent.get("pending") ?? []) {
      if (Date.now() - kept.at < PENDING_HOURS * 3600e3) this.entries.push(this.newEntry(kept));
    }
    this.connection = new Connection(url.href, {
      signIn: () => this.visitor.auth(),
      onRefused: () => this.giveUp(),
      onFrame: (frame) => this.receive(frame),
      onState: (state) => {
        if (state !== "online") this.inFlight = null;
        onState(state);
      },
    });
    setInterval(() => this.askAgain(), QUIET_MS);
  }

  newEntry(fields) {
    const now = Date.now();
    const { conversation } = this;
    return { turn: null, conversation, question: "", files: [], text: "", have: 0, state: "sending", kind: "answer", sources: [], at: now, heard: now, ...fields };
  }

  // Whether answers are on their way that can be stopped.
  get isBusy() {
    return this.entries.some(isOpen);
  }

  get isKnown() {
    return Boolean(this.visitor.token || this.visitor.identity) || this.entries.length > 0;
  }

  // How many answers came since the visitor last looked.
  get unseen() {
    const answers = this.entries.filter(isAnswered);
    const seen = this.store.get("seen");
    return answers.length - 1 - answers.findIndex((entry) => entry.turn === seen);
  }

  markSeen() {
    const newest = this.entries.findLast(isAnswered);
    if (newest) this.store.set("seen", newest.turn);
  }

  // `files`: { id, name } of what was uploaded.
  ask(text, files = []) {
    this.entries.push(this.newEntry({ id: newId(), question: text, files }));
    this.changed();
    this.connection.start();
    this.transmit();
  }

  // Whatever is on its way is cancelled by the hub; what never left is only dropped here.
  stop() {
    for (const entry of this.entries.filter(isOpen)) {
      if (entry.turn || entry === this.inFlight) {
        entry.isStopping = true; // asked again when the connection is back
        this.onChange(entry);
      } else {
        this.withdraw(entry);
      }
    }
    this.connection.send({ t: "stop" });
    this.changed();
  }

  // The hub keeps its word: what it has cancelled is not answered any more, however late it gets to it.
  stopped(turns) {
    for (const entry of this.entries.filter((each) => each.turn && isOpen(each))) {
      if (turns.includes(entry.turn)) this.withdraw(entry);
      else if (entry.isStopping) this.resume(entry); // it has ended, and the news of that was lost
    }
    this.changed();
  }

  withdraw(entry) {
    this.settle(entry, { text: "", kind: "cancelled", sources: [], answered_at: new Date().toISOString() });
  }

  // The hub knows nothing of what was asked for: these answers will never come.
  giveUp() {
    for (const entry of this.entries.filter((each) => each.turn && isOpen(each))) {
      Object.assign(entry, { state: "failed", problem: say("lost") });
      this.onChange(entry);
    }
    this.changed();
  }

  judge(entry, value) {
    if (!this.connection.send({ t: "feedback", turn: entry.turn, value })) return;
    entry.judgement = value;
    const judged = Object.entries(this.store.get("judged") ?? {}).filter(([turn]) => turn !== entry.turn);
    this.store.set("judged", Object.fromEntries([...judged, [entry.turn, value]].slice(-50)));
    this.onChange(entry);
  }

  // Let answers go to this address when nobody is here any more.
  leave(email) {
    this.leaving = email;
    this.connection.send({ t: "leave", email });
  }

  left(email) {
    this.leaving = "";
    this.store.set("left", email);
    this.onLeft(email);
  }

  // What has arrived need not be mailed.
  confirm(turns) {
    if (this.features.mail && turns.length) this.connection.send({ t: "got", turns: turns.slice(-10) });
  }

  // Be the person whom the site has signed in, or with "" a visitor again.
  identify(identity) {
    if (identity === this.visitor.identity) return;
    const before = this.visitor.identity;
    if (!before || subjectOf(before) !== subjectOf(identity)) {
      // What somebody else has said is neither shown nor sent; a visitor goes on as the person who signs in, and what is on
      // its way already stays where it was sent.
      this.entries = before ? [] : this.entries.filter((entry) => entry !== this.inFlight);
      this.inFlight = null;
      this.conversation = undefined;
      this.release();
      if (before) this.store.set("left", "");
    }
    this.visitor.identity = identity;
    this.changed();
    if (this.connection.state !== "idle") this.connection.restart();
  }

  startOver() {
    this.entries = [];
    this.forget();
    this.connection.restart();
  }

  // Become a new visitor at the next connection; what was not sent yet goes along.
  forget() {
    this.visitor.forget();
    this.store.set("left", "");
    this.entries = this.entries.filter((entry) => !entry.turn);
    this.release();
    this.changed();
  }

  // What was not sent yet belongs to the next conversation.
  release() {
    for (const entry of this.entries) if (!entry.turn) entry.conversation = undefined;
  }

  // Why this text cannot be sent, or null.
  problem(text) {
    const length = [...text].length;
    if (length > this.limits.text_chars) return say("chars", number(length), number(this.limits.text_chars));
    const bytes = new TextEncoder().encode(JSON.stringify(text)).length;
    return bytes > this.limits.frame_bytes - 400 ? say("long") : null;
  }

  transmit() {
    clearTimeout(this.retry);
    const entry = this.entries.find((each) => each.state === "sending");
    if (!entry || this.inFlight) return;
    const files = entry.files.length ? { files: entry.files.map(({ id }) => id) } : {};
    if (this.connection.send({ t: "message", id: entry.id, text: entry.question, ...files })) this.inFlight = entry;
  }

  receive(frame) {
    const handle = {
      ready: () => this.ready(frame),
      accepted: () => this.accepted(frame),
      waiting: () => this.waiting(frame),
      stopped: () => this.stopped(frame.turns),
      typing: () => this.reset(this.entryOf(frame.turn)), // taken up, perhaps again: nothing is generated yet
      delta: () => this.delta(frame),
      reset: () => this.reset(this.entryOf(frame.turn)),
      final: () => this.final(frame),
      left: () => this.left(frame.email),
      err: () => this.failed(frame),
    }[frame.t];
    handle?.();
  }

  ready(frame) {
    this.visitor.keep(frame.token);
    this.limits = frame.limits;
    this.features = frame.features;
    this.person = frame.person;
    // Somebody else may have signed in: what was said before is not theirs.
    this.entries = this.entries.filter(
      ({ conversation }) => !conversation || conversation === frame.conversation,
    );
    this.conversation = frame.conversation;
    this.onReady();
    if (this.leaving) this.leave(this.leaving);
    let last = -1;
    for (const turn of frame.history) {
      let entry = this.find(turn.turn);
      if (!entry) {
        entry = this.newEntry({ turn: turn.turn, at: Date.parse(turn.asked_at), state: "past" });
        this.entries.splice(last + 1, 0, entry);
      }
      last = this.entries.indexOf(entry);
      entry.isOld = true; // shown at once: it was not said just now
      this.settle(entry, { ...turn, text: turn.answer });
    }
    this.confirm(frame.history.map(({ turn }) => turn));
    this.changed();
    for (const entry of this.entries.filter((each) => each.turn && isOpen(each))) {
      if (entry.isStopping) this.connection.send({ t: "stop", turn: entry.turn });
      this.resume(entry);
    }
    this.transmit();
  }

  accepted(frame) {
    const entry = this.entries.find((each) => each.id === frame.id);
    this.inFlight = null;
    if (entry && !entry.turn) {
      const known = this.find(frame.turn); // the answer came before this word did, or by another tab
      if (known) {
        known.question ||= entry.question;
        this.entries = this.entries.filter((each) => each !== entry);
      } else {
        const { conversation } = this;
        Object.assign(entry, { turn: frame.turn, conversation, state: "accepted", heard: Date.now() });
        if (entry.isStopping) this.connection.send({ t: "stop", turn: entry.turn });
      }
      this.changed();
    }
    this.transmit();
  }

  waiting(frame) {
    const entry = this.entryOf(frame.turn);
    const isNews = !entry.waitUntil;
    entry.waitUntil = Date.now() + frame.wait_s * 1000;
    this.touch(entry, entry.state);
    if (isNews) this.onWait(entry);
  }

  delta(frame) {
    const entry = this.entryOf(frame.turn);
    const skip = entry.have - frame.offset;
    if (entry.state === "done") return;
    if (skip < 0) {
      this.resume(entry); // something is missing in between
      return;
    }
    const news = [...frame.text].slice(skip);
    entry.have += news.length;
    entry.text += news.join("");
    entry.waitUntil = 0;
    this.touch(entry, "streaming");
  }

  reset(entry) {
    if (entry.state === "done") return;
    Object.assign(entry, { text: "", have: 0, waitUntil: 0 });
    this.touch(entry, "typing");
  }

  final(frame) {
    const entry = this.entryOf(frame.turn, frame.question);
    this.settle(entry, frame);
    this.confirm([frame.turn]);
    this.changed();
  }

  // The durable answer stands; what was shown of it before does not matter any more.
  settle(entry, { question, text, kind, sources, answered_at }) {
    const isNews = entry.state !== "done" && entry.state !== "past";
    const answeredAt = Date.parse(answered_at);
    const judgement = this.store.get("judged")?.[entry.turn];
    // A file sent without a word is all there is to see of the question.
    const asked = entry.question || (entry.files.length ? "" : question);
    Object.assign(entry, { question: asked, text, kind, sources, answeredAt, judgement, state: "done" });
    this.onChange(entry);
    if (isNews) this.onFinal(entry);
  }

  failed(frame) {
    if (frame.code === "bad_token") this.forget();
    if (this.leaving && !frame.id && ["bad_email", "day_limit"].includes(frame.code)) {
      this.leaving = "";
      this.onLeft("", say(frame.code));
    }
    const entry = this.entries.find((each) => each.id === frame.id && !each.turn);
    if (!entry) return;
    this.inFlight = null;
    if (frame.retry_ms) {
      entry.problem = say(frame.code === "slow_down" ? "slow_down" : "busy");
      this.retry = setTimeout(() => this.transmit(), frame.retry_ms * (1 + Math.random() / 4));
    } else {
      entry.state = "failed";
      entry.problem = say({ too_long: "long", day_limit: "day_limit" }[frame.code] ?? "failed");
      this.transmit();
    }
    this.changed();
    this.onChange(entry);
  }

  resume(entry) {
    entry.heard = Date.now();
    this.connection.send({ t: "resume", turn: entry.turn, have: entry.have, crc: crc32(entry.text) });
  }

  // Whatever got lost on the way, an unanswered question asks for its answer again.
  askAgain() {
    for (const entry of this.entries) {
      if (entry.turn && isOpen(entry) && Date.now() - entry.heard > QUIET_MS) this.resume(entry);
    }
  }

  touch(entry, state) {
    if (entry.state === "done") return;
    entry.heard = Date.now();
    entry.state = state;
    this.onChange(entry);
  }

  find(turn) {
    return this.entries.find((entry) => entry.turn === turn);
  }

  entryOf(turn, question = "") {
    let entry = this.find(turn);
    if (!entry) {
      entry = this.newEntry({ turn, question, state: "typing" });
      const waiting = this.entries.findIndex((each) => each.state === "sending");
      this.entries.splice(waiting < 0 ? this.entries.length : waiting, 0, entry);
      this.changed();
    }
    return entry;
  }

  changed() {
    const pending = this.entries.filter((entry) => entry.id && entry.state !== "done" && entry.state !== "failed");
    this.unsent.set("pending", pending.map(({ id, turn, conversation, question, files, at }) => ({ id, turn, conversation, question, files, at })));
    this.onChange(null);
  }
}
