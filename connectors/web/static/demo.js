// The demo page: example questions go to the widget, and the tag to copy names this hub.

for (const button of document.querySelectorAll(".questions button")) {
  button.addEventListener("click", () => window.Hubbub.ask(button.textContent));
}

const snippet = document.getElementById("snippet");
snippet.textContent = `<script src="${new URL("/widget.js", location.href).href}" async></script>`;

const copy = document.getElementById("copy");
copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(snippet.textContent);
    copy.textContent = "Copied";
  } catch {
    // Without https there is no clipboard interface: mark the text, so that one key press copies it.
    getSelection().selectAllChildren(snippet);
    copy.textContent = "Marked";
  }
  setTimeout(() => (copy.textContent = "Copy"), 1600);
});
