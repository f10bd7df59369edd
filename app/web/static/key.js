// The API key: asked for when the service wants one, kept for this tab alone, forgotten on request.

import { forgetKey, keys, storedKey, storeKey } from "./api.js";
import { byId } from "./elements.js";

const ASK = "This service asks for an API key. It is kept in this tab only, until the tab is closed.";

/** Wires the key's form; `changed` is called with a new key, and when it was forgotten. */
export function askForKeys(changed) {
  const form = byId("key"), field = byId("key-value"), forget = byId("forget-key");
  const shown = () => { forget.hidden = !storedKey(); };

  keys.addEventListener("needed", ({ detail: problem }) => {
    byId("key-why").textContent = storedKey() ? `${problem.detail} (${problem.code})` : ASK;
    if (form.hidden) {
      form.hidden = false;
      field.focus();
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const key = field.value.trim();
    if (!/^[\x21-\x7e]+$/.test(key)) { // else no header could hold it
      byId("key-why").textContent = "That is no API key: it begins with es_ and has no spaces or special letters.";
      return;
    }
    storeKey(key);
    field.value = "";
    form.hidden = true;
    shown();
    changed();
  });
  forget.addEventListener("click", () => {
    forgetKey();
    shown();
    changed();
  });
  shown();
}
