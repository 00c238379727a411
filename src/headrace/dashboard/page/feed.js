// The feed: server-sent events over fetch, which can carry a key where EventSource cannot.
import { byId } from "./draw.js";

const KEY = "headrace-admin-key";

export async function ask(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...(options.headers ?? {}), ...(key ? { authorization: `Bearer ${key}` } : {}) };
    const answer = await fetch(path, { ...options, headers });
    if (answer.status !== 401 && answer.status !== 403) return answer;
    await askKey(key !== null);
  }
}

let asking = null;

function askKey(refused) {
  asking ??= new Promise((done) => {
    const dialog = byId("key-dialog"), field = byId("key");
    byId("key-fault").textContent = refused ? "That key was not accepted." : "";
    field.value = "";
    dialog.showModal();
    dialog.addEventListener("close", () => {
      if (field.value) sessionStorage.setItem(KEY, field.value);
      field.value = "";
      asking = null;
      done();
    }, { once: true });
  });
  return asking;
}

export async function follow(path, on, state) {
  for (let wait = 1000; ; wait = Math.min(wait * 2, 10000)) {
    try {
      const answer = await ask(path);
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      wait = 1000;
      await read(answer.body.getReader(), on);
    } catch (fault) { console.warn(fault); }
    state(`lost; again in ${wait / 1000} s`);
    await new Promise((done) => setTimeout(done, wait));
  }
}

async function read(reader, on) {
  const decoder = new TextDecoder();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += decoder.decode(value, { stream: true });
    const events = held.split("\n\n");
    held = events.pop();
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event)?.[1], data = /^data: (.*)$/m.exec(event)?.[1];
      if (name && data && on[name]) setTimeout(() => on[name](JSON.parse(data)));  // a fault there is no fault of the feed
    }
  }
}
