// The connection to the hub: it signs in, notices silence, and comes back by itself after a drop.

const SILENCE_MS = 25000;
const ANSWER_MS = 10000;
const STEADY_MS = 5000;
const LONGEST_WAIT_MS = 30000;

class Connection {
  // `signIn()` promises the first frame; `onRefused()`: the hub knows nothing of a turn that was asked for.
  constructor(url, { signIn, onFrame, onState, onRefused }) {
    this.url = url;
    this.signIn = signIn;
    this.onFrame = onFrame;
    this.onState = onState;
    this.onRefused = onRefused;
    this.state = "idle"; // idle, connecting, online, waiting
    this.socket = null;
    this.attempt = 0;
    this.round = 0; // counts connections, so that a late ticket opens none
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

  async connect() {
    clearTimeout(this.timer);
    this.socket = null;
    this.enter("connecting");
    this.expectAnswer();
    const round = (this.round += 1);
    let auth;
    let socket;
    try {
      auth = await this.signIn();
      if (round !== this.round) return;
      socket = this.socket = new WebSocket(this.url);
    } catch (error) {
      if (round !== this.round) return;
      if (this.attempt === 0) console.warn(`Hubbub: ${error.message}`);
      this.lose(0);
      return;
    }
    socket.onopen = () => {
      this.hasOpened = true;
      socket.send(JSON.stringify(auth));
    };
    socket.onmessage = (event) => this.receive(JSON.parse(event.data));
    socket.onclose = (event) => this.lose(event.code);
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
    this.socket?.close();
    this.lose(0);
  }

  lose(code) {
    const socket = this.socket;
    this.round += 1;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    clearTimeout(this.timer);
    clearTimeout(this.deadline);
    this.deadline = null;
    if (this.state === "online" && Date.now() - this.readyAt > STEADY_MS) this.attempt = 0;
    const wait = this.nextWait(code);
    this.attempt += 1;
    if (this.attempt === 4 && !this.hasOpened) {
      console.warn(`Hubbub cannot reach ${this.url}. Is ${location.origin} among web.allowed_origins or the origins of its site?`);
    }
    if (code === 4403) this.onRefused();
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
