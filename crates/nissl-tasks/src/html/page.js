// Comfort only: everything is on the page without it.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");

  // Tabs: one choice of method for all sections that have panels.
  const groups = [...document.querySelectorAll(".panels")];
  const choose = (method, from) => {
    for (const group of groups) {
      for (const panel of group.querySelectorAll(":scope > .panel")) panel.hidden = panel.dataset.method !== method;
      for (const tab of group.querySelectorAll('[role="tab"]')) {
        const on = tab.dataset.method === method;
        tab.setAttribute("aria-selected", on);
        tab.tabIndex = on ? 0 : -1;
        if (on && from === group) tab.focus();
      }
    }
  };
  groups.forEach((group, g) => {
    const panels = [...group.querySelectorAll(":scope > .panel")];
    if (panels.length < 2) return;
    const list = document.createElement("div");
    list.className = "tabs";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Method");
    for (const panel of panels) {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.textContent = panel.getAttribute("aria-label");
      tab.dataset.method = panel.dataset.method;
      tab.id = `tab-${g}-${panel.dataset.method}`;
      panel.id = `panel-${g}-${panel.dataset.method}`;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      tab.addEventListener("click", () => choose(tab.dataset.method));
      list.append(tab);
    }
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const at = panels.findIndex((panel) => !panel.hidden);
      choose(panels[(at + step + panels.length) % panels.length].dataset.method, group);
    });
    group.prepend(list);
  });
  if (groups.some((group) => group.querySelector(".tabs"))) choose("0");

  // A link to a concept leads to its table of the method that is shown.
  const follow = () => {
    const concept = /^#c-(\d+)$/.exec(location.hash);
    if (!concept) return;
    const tables = [...document.querySelectorAll(`.best[data-concept="${concept[1]}"]`)];
    const table = tables.find((t) => !t.closest(".panel").hidden);
    for (const marked of document.querySelectorAll(".best.marked")) marked.classList.remove("marked");
    if (!table) return;
    table.classList.add("marked");
    table.scrollIntoView({ block: "center" });
    table.focus({ preventScroll: true });
  };
  addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#c-"]');
    if (link && link.getAttribute("href") === location.hash) follow();
  });
  follow();

  // The activation at a word: under the pointer, or by the arrow keys in a focused sentence.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  const hide = () => {
    tip.hidden = true;
    for (const word of document.querySelectorAll(".w.here")) word.classList.remove("here");
  };
  const show = (word) => {
    hide();
    word.classList.add("here");
    const name = word.firstChild ? word.firstChild.textContent : "";
    tip.textContent = `${name}: ${word.dataset.a}`;
    tip.hidden = false;
    const box = word.getBoundingClientRect();
    const left = box.left + box.width / 2 - tip.offsetWidth / 2;
    tip.style.left = `${Math.max(6, Math.min(left, innerWidth - tip.offsetWidth - 6))}px`;
    tip.style.top = `${box.top > 40 ? box.top - tip.offsetHeight - 6 : box.bottom + 6}px`;
  };
  document.addEventListener("pointerover", (event) => {
    const word = event.target.closest(".passage .w");
    if (word) show(word);
    else if (!tip.hidden) hide();
  });
  addEventListener("scroll", () => { if (!tip.hidden) hide(); }, { passive: true });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const passage = event.target.closest ? event.target.closest(".passage") : null;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!passage || !step) return;
    event.preventDefault();
    const words = [...passage.querySelectorAll(".w")];
    const now = words.findIndex((word) => word.classList.contains("here"));
    const start = words.findIndex((word) => word.tagName === "MARK");
    const next = now < 0 ? Math.max(start, 0) : now + step;
    if (words.length) show(words[Math.max(0, Math.min(next, words.length - 1))]);
  });

  // Light, dark, or as the system says.
  const themes = ["auto", "light", "dark"];
  const button = document.createElement("button");
  button.type = "button";
  button.className = "theme";
  const paint = (theme) => {
    root.dataset.theme = theme;
    button.textContent = `${{ auto: "\u25d0", light: "\u2600", dark: "\u263e" }[theme]} ${theme}`;
    button.setAttribute("aria-label", `Colors: ${theme}`);
  };
  let theme = "auto";
  try { theme = localStorage.getItem("nissl-theme") || theme; } catch { /* a file without storage */ }
  paint(themes.includes(theme) ? theme : "auto");
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length];
    paint(next);
    try { localStorage.setItem("nissl-theme", next); } catch { /* a file without storage */ }
  });
  document.querySelector(".brand").append(button);

  // Commands are copied with a click.
  for (const pre of document.querySelectorAll(".command pre")) {
    const copy = document.createElement("button");
    copy.type = "button";
    copy.className = "copy";
    copy.textContent = "copy";
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(pre.querySelector("code").textContent);
        copy.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(pre.querySelector("code"));
      }
    });
    pre.after(copy);
  }

  // The contents show where the reader is.
  if ("IntersectionObserver" in window) {
    const links = new Map();
    for (const link of document.querySelectorAll("nav a")) links.set(link.getAttribute("href").slice(1), link);
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const link = links.get(entry.target.id);
        if (link) link.classList.toggle("seen", entry.isIntersecting);
      }
    }, { rootMargin: "-20% 0px -60% 0px" });
    for (const id of links.keys()) {
      const target = document.getElementById(id);
      if (target) observer.observe(target);
    }
  }

  // Paper shows all.
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
