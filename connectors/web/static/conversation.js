// What was said: questions with their answers, kept in step with the hub across drops, reloads and other tabs.

const PENDING_HOURS = 24;
const QUIET_MS = 15000;

// Storage of the browser where it allows that, else the memory of this page.
class Store {
  // `area`: localStorage, which all tabs share, or sessionStorage, which is this tab's alone.
  constructor(area, prefix) {
    this.area = area;
    this.prefix = prefix;
    this.memory = new Map();
  }

  get(name) {
    try {
      return JSON.parse(window[this.area].getItem(this.prefix + name) ?? "null");
    } catch {
      return this.memory.get(name) ?? null;
    }
  }

  set(name, value) {
    this.memory.set(name, value);
    try {
      window[this.area].setItem(this.prefix + name, JSON.stringify(value));
    } catch {
      // Blocked or full: the conversation lasts as long as the page.
    }
  }
}

// The sum the hub compares to know that both mean the same text. Source: RFC 1952 section 8, zlib.crc32.
function crc32(text) {
  let crc = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// An entry that still gets an answer.
function isOpen(entry) {
  return !["done", "past", "failed"].includes(entry.state);
}

// A cancelled question is undone: after the next visit nobody knows of it.
function isAnswered(entry) {
  return entry.state === "done" && entry.kind !== "cancelled";
}

class Conversation {
  // `onChange(entry)`: one entry changed; null: entries came, went or moved. `onFinal(entry)`: an answer is there.
  // `onWait(entry)`: others come first.
  constructor(url, { onChange, onFinal, onWait, onState }) {
    this.store = new Store("localStorage", `hubbub ${url} `);
    this.unsent = new Store("sessionStorage", `hubbub ${url} `);
    this.onChange = onChange;
    this.onFinal = onFinal;
    this.onWait = onWait;
    this.entries = [];
    this.limits = { text_chars: 8000, frame_bytes: 16384 };
    this.inFlight = null; // the entry whose message waits for `accepted`: one at a time keeps their order
    this.retry = null;
    for (const { id, turn, question, at } of this.unsent.get("pending") ?? []) {
      if (Date.now() - at < PENDING_HOURS * 3600e3) this.entries.push(this.newEntry({ id, turn, question, at }));
    }
    this.connection = new Connection(url, {
      token: () => this.store.get("token") ?? "",
      onFrame: (frame) => this.receive(frame),
      onState: (state) => {
        if (state !== "online") this.inFlight = null;
        onState(state);
      },
    });
    setInterval(() => this.askAgain(), QUIET_MS);
  }

  newEntry(fields) {
    return { turn: null, question: "", text: "", have: 0, state: "sending", kind: "answer", sources: [], at: Date.now(), heard: Date.now(), ...fields };
  }

  // Whether answers are on their way that can be stopped.
  get isBusy() {
    return this.entries.some(isOpen);
  }

  get isKnown() {
    return Boolean(this.store.get("token")) || this.entries.length > 0;
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

  ask(text) {
    this.entries.push(this.newEntry({ id: newId(), question: text }));
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

  startOver() {
    this.entries = [];
    this.forget();
    this.connection.restart();
  }

  // Become a new visitor at the next connection; what was not sent yet goes along.
  forget() {
    this.store.set("token", "");
    this.entries = this.entries.filter((entry) => !entry.turn);
    this.changed();
  }

  // Why this text cannot be sent, or null.
  problem(text) {
    const length = [...text].length;
    if (length > this.limits.text_chars) return `${length} of ${this.limits.text_chars} characters`;
    const bytes = new TextEncoder().encode(JSON.stringify(text)).length;
    return bytes > this.limits.frame_bytes - 200 ? "This message is too long" : null;
  }

  transmit() {
    clearTimeout(this.retry);
    const entry = this.entries.find((each) => each.state === "sending");
    if (!entry || this.inFlight) return;
    if (this.connection.send({ t: "message", id: entry.id, text: entry.question })) this.inFlight = entry;
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
      err: () => this.failed(frame),
    }[frame.t];
    handle?.();
  }

  ready(frame) {
    this.store.set("token", frame.token);
    this.limits = frame.limits;
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
        Object.assign(entry, { turn: frame.turn, state: "accepted", heard: Date.now() });
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
    this.changed();
  }

  // The durable answer stands; what was shown of it before does not matter any more.
  settle(entry, { question, text, kind, sources, answered_at }) {
    const isNews = entry.state !== "done" && entry.state !== "past";
    const answeredAt = Date.parse(answered_at);
    Object.assign(entry, { question: entry.question || question, text, kind, sources, answeredAt, state: "done" });
    this.onChange(entry);
    if (isNews) this.onFinal(entry);
  }

  failed(frame) {
    if (frame.code === "bad_token") this.forget();
    const entry = this.entries.find((each) => each.id === frame.id && !each.turn);
    if (!entry) return;
    this.inFlight = null;
    if (frame.retry_ms) {
      entry.problem = { slow_down: "One moment, that was fast…", busy: "Busy right now, trying again…" }[frame.code] ?? "Trying again…";
      this.retry = setTimeout(() => this.transmit(), frame.retry_ms * (1 + Math.random() / 4));
    } else {
      entry.state = "failed";
      entry.problem = frame.code === "too_long" ? `Too long: at most ${frame.limit} characters.` : "This message could not be sent.";
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
    this.unsent.set("pending", pending.map(({ id, turn, question, at }) => ({ id, turn, question, at })));
    this.onChange(null);
  }
}
