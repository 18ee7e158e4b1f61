// Words where a reader points to a mark, and a network's diagram where a mark is opened.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const tip = byId("tip");
  let listed, networks = new Map(); // read anew where a part of the page is another one now
  const networkOf = (mark) => {
    if (listed !== byId("networks")) {
      listed = byId("networks");
      networks = new Map((listed ? JSON.parse(listed.textContent) : []).map((n) => [String(n[0]), n]));
    }
    return networks.get(mark.dataset.n);
  };
  const words = (mark) => {
    const network = networkOf(mark);
    return network ? `trial ${network[0]}: ${network[2]}\n${network[3]}` : mark.dataset.t || "";
  };
  const show = (mark) => {
    tip.textContent = words(mark);
    tip.hidden = !tip.textContent;
    const at = mark.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const right = Math.max(4, Math.min(at.right + 8, innerWidth - size.width - 4));
    const below = at.bottom + 8 + size.height > innerHeight;
    tip.style.left = `${right}px`;
    tip.style.top = `${below ? Math.max(4, at.top - size.height - 8) : at.bottom + 8}px`;
  };
  let unpacked;
  const diagrams = () => {
    const packed = byId("diagrams");
    if (!packed || !("DecompressionStream" in window)) return Promise.resolve({});
    unpacked ||= (async () => {
      const bytes = Uint8Array.from(atob(packed.textContent), (c) => c.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      return JSON.parse(await new Response(stream).text());
    })();
    return unpacked;
  };
  const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  const open = async (mark) => {
    const network = networkOf(mark), panel = byId("panel");
    if (!network || !panel) return;
    const drawn = (await diagrams())[network[1]];
    const heading = make("h3", network[4] ? "" : `Trial ${network[0]}`);
    if (network[4]) heading.append(Object.assign(make("a", `Trial ${network[0]}`), { href: network[4] }));
    const parts = [heading, make("p", network[2]), make("pre", network[3])];
    if (drawn) {
      const wide = Object.assign(document.createElement("div"), { className: "wide", tabIndex: 0 });
      wide.setAttribute("role", "region");
      wide.setAttribute("aria-label", `Diagram of trial ${network[0]}`);
      wide.innerHTML = drawn;
      parts.push(wide);
    }
    panel.replaceChildren(...parts);
  };
  const markOf = (event) => event.target.closest && event.target.closest("[data-n],[data-t]");
  document.addEventListener("pointerover", (event) => {
    const mark = markOf(event);
    if (mark) show(mark);
    else tip.hidden = true;
  });
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  document.addEventListener("click", (event) => {
    const mark = markOf(event);
    if (mark) open(mark);
  });
  // A chart is entered by Tab; arrows go from mark to mark by their place, Enter opens one.
  let chart, marks, at = -1;
  const leave = () => { tip.hidden = true; marks && marks[at] && marks[at].classList.remove("at"); };
  document.addEventListener("focusout", leave);
  document.addEventListener("keydown", (event) => {
    const entered = event.target.closest && event.target.closest("svg.chart[tabindex]");
    if (!entered) return;
    if (entered !== chart) {
      leave();
      chart = entered, at = -1;
      marks = [...chart.querySelectorAll("[data-n]")]
        .map((mark) => [mark.getBBox().x, mark]).sort((a, b) => a[0] - b[0]).map((pair) => pair[1]);
    }
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -1e9, End: 1e9 }[event.key];
    if (event.key === "Escape") leave();
    if (event.key === "Enter" && marks[at]) open(marks[at]);
    if (!step || !marks.length) return;
    event.preventDefault();
    leave();
    at = Math.max(0, Math.min(marks.length - 1, at + step));
    marks[at].classList.add("at");
    show(marks[at]);
    byId("spoken").textContent = words(marks[at]);
  });
})();
