// What the pages do better with a script: a search's page follows it, the form says what it would be.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const parsed = async (answer) => new DOMParser().parseFromString(await answer.text(), "text/html");

  // A part of the page is replaced where the server's is another one now, unless the reader is in it.
  const live = byId("live");
  const seen = new Map(live ? [...live.children].map((part) => [part.id, part.outerHTML]) : []);
  const follow = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.status === 401) return location.reload();
    if (!answer.ok) return;
    const fresh = (await parsed(answer)).getElementById("live");
    let before = null;
    for (const part of [...fresh.children]) {
      const old = byId(part.id), text = part.outerHTML;
      if (old && (seen.get(part.id) === text || old.contains(document.activeElement))) {
        before = old;
        continue;
      }
      seen.set(part.id, text);
      const open = new Set(old ? [...old.querySelectorAll("details[open]>summary")].map((s) => s.textContent) : []);
      for (const each of part.querySelectorAll("details>summary")) {
        if (open.has(each.textContent)) each.parentNode.open = true;
      }
      if (old) old.replaceWith(part);
      else if (before) before.after(part);
      else live.prepend(part);
      before = part;
    }
  };
  const source = live && live.parentNode.dataset.events;
  if (source) {
    const stream = new EventSource(source);
    let waits;
    const news = () => { waits ||= setTimeout(() => { waits = 0; follow(); }, 300); };
    for (const kind of ["state", "trial", "progress", "end"]) stream.addEventListener(kind, news);
    stream.addEventListener("end", () => stream.close());
  }

  document.addEventListener("submit", (event) => {
    const asked = event.submitter && event.submitter.dataset.ask;
    if (asked && !confirm(asked)) event.preventDefault();
  });

  const form = byId("new");
  if (form) {
    let waits, asked = 0;
    const ask = async () => {
      const mine = ++asked;
      const answer = await fetch(form.dataset.preflight, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      if (answer.ok && mine === asked) byId("preflight").replaceChildren(...(await parsed(answer)).body.childNodes);
    };
    const later = () => { clearTimeout(waits); waits = setTimeout(ask, 300); };
    form.addEventListener("input", later);
    ask();
  }

  document.addEventListener("toggle", async (event) => {
    const details = event.target, from = details.dataset && details.dataset.load;
    if (!from || !details.open) return;
    delete details.dataset.load;
    const answer = await fetch(from);
    details.querySelector("pre").textContent = answer.ok ? await answer.text() : "The code can't be had now.";
  }, true);
})();
