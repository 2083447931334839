// The connection to the hub: it signs in, notices silence, and comes back by itself after a drop.

const SILENCE_MS = 25000;
const ANSWER_MS = 10000;
const STEADY_MS = 5000;
const LONGEST_WAIT_MS = 30000;

class Connection {
  constructor(url, { token, onFrame, onState }) {
    this.url = url;
    this.token = token; // () => the stored token
    this.onFrame = onFrame;
    this.onState = onState;
    this.state = "idle"; // idle, connecting, online, waiting
    this.socket = null;
    this.attempt = 0;
    this.hasOpened = false;
    this.readyAt = 0;
    this.timer = null;
    this.deadline = null;
    addEventListener("online", () => this.retryNow());
    addEventListener("offline", () => this.drop());
    document.addEventListener("visibilitychange", () => document.hidden || this.retryNow());
  }

  start() {
    if (this.state === "idle") this.connect();
  }

  send(frame) {
    if (this.state !== "online") return false;
    this.socket.send(JSON.stringify(frame));
    this.expectAnswer();
    return true;
  }

  retryNow() {
    if (this.state === "waiting") this.connect();
  }

  // Begin again under the token that is stored now.
  restart() {
    this.drop();
    this.attempt = 0;
    this.connect();
  }

  connect() {
    clearTimeout(this.timer);
    this.enter("connecting");
    let socket;
    try {
      socket = this.socket = new WebSocket(this.url);
    } catch (error) {
      console.warn(`Hubbub: ${error.message}`);
      this.lose(0);
      return;
    }
    socket.onopen = () => {
      this.hasOpened = true;
      socket.send(JSON.stringify({ t: "auth", token: this.token() }));
    };
    socket.onmessage = (event) => this.receive(JSON.parse(event.data));
    socket.onclose = (event) => this.lose(event.code);
    this.expectAnswer();
  }

  receive(frame) {
    clearTimeout(this.deadline);
    this.deadline = null;
    if (frame.t === "ready") {
      this.readyAt = Date.now();
      this.enter("online");
    }
    this.onFrame(frame);
    clearTimeout(this.timer);
    if (this.state === "online") this.timer = setTimeout(() => this.send({ t: "ping" }), SILENCE_MS);
  }

  // A connection can be dead without anybody saying so: whoever sends expects to hear something.
  expectAnswer() {
    this.deadline ??= setTimeout(() => this.drop(), ANSWER_MS);
  }

  drop() {
    if (this.state !== "online" && this.state !== "connecting") return;
    this.socket.close();
    this.lose(0);
  }

  lose(code) {
    const socket = this.socket;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    clearTimeout(this.timer);
    clearTimeout(this.deadline);
    this.deadline = null;
    if (this.state === "online" && Date.now() - this.readyAt > STEADY_MS) this.attempt = 0;
    const wait = this.nextWait(code);
    this.attempt += 1;
    if (this.attempt === 4 && !this.hasOpened) {
      console.warn(`Hubbub cannot reach ${this.url}. Is ${location.origin} among web.allowed_origins of the hub?`);
    }
    this.timer = setTimeout(() => this.connect(), wait);
    this.enter("waiting");
  }

  nextWait(code) {
    // A hub that restarts gets its pages back spread over 5 s, not all at once.
    if (code === 1012 && this.attempt === 0) return Math.random() * 5000;
    const longest = Math.min(LONGEST_WAIT_MS, 500 * 2 ** this.attempt);
    return longest / 2 + (Math.random() * longest) / 2;
  }

  enter(state) {
    this.state = state;
    this.onState(state);
  }
}
