// Who is at this page: a token in the browser's storage, and where the site signs its visitors in, their identity.

class Visitor {
  // `onSite({ title, greeting })`: what the hub tells of the site.
  constructor(hub, store, { site, language, onSite }) {
    this.hub = hub;
    this.store = store;
    this.site = site;
    this.language = language;
    this.onSite = onSite;
    this.identity = "";
  }

  get token() {
    return this.store.get("token") ?? "";
  }

  // A person whom the site has signed in has no token: with the next page the site signs again.
  keep(token) {
    if (token) this.store.set("token", token);
  }

  forget() {
    this.store.set("token", "");
  }

  // The first frame of a socket.
  async auth() {
    const pass = this.site ? { ticket: await this.ticket() } : { token: this.token };
    return { t: "auth", language: this.language, ...pass };
  }

  // What goes along with a file.
  async pass() {
    return this.site ? this.ticket() : this.token;
  }

  async ticket() {
    const { site, token, identity } = this;
    const response = await fetch(new URL("widget/session", this.hub), {
      method: "POST",
      body: JSON.stringify({ site, token, identity }),
      credentials: "omit",
    });
    const answer = await response.json();
    if (response.ok) {
      this.keep(answer.token);
      this.onSite(answer);
      return answer.ticket;
    }
    const { code } = answer.error ?? answer;
    if (code === "bad_token") this.forget();
    // The page asks its own server for a new signature and hands it over by `Hubbub.identify`.
    if (code === "bad_identity") dispatchEvent(new Event("hubbub:identity"));
    throw new Error(`the hub answered ${code}`);
  }
}
