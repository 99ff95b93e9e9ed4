// Keeps what a swap would lose, and says when the worker does not answer any more.
"use strict";

(() => {
  const silent = document.getElementById("silent");
  const paused = document.getElementById("paused");
  const login = document.getElementById("login");
  const live = () => document.getElementById("live");
  if (!live().hasAttribute("hx-get")) return;

  // A page in the background asks less often; its title still says what happens.
  const BACKGROUND = 30_000;

  const { version, where } = live().dataset;
  let asked = Date.now();
  let answered = Date.now();
  let before = null;

  const parsed = (html) => new DOMParser().parseFromString(html, "text/html");

  function noAnswer() {
    if (!login.hidden) return;
    silent.hidden = false;
    document.title = `\u2715 No answer \u00b7 ${where}`;
    document.body.classList.add("out-of-date");
  }

  function answers() {
    silent.hidden = true;
    login.hidden = true;
    document.body.classList.remove("out-of-date");
    answered = Date.now();
  }

  // A proxy before the worker has forgotten the login, so its own answer came instead of the page.
  function needsLogin() {
    silent.hidden = true;
    login.hidden = false;
    document.title = `\u2715 Log in again \u00b7 ${where}`;
    document.body.classList.add("out-of-date");
  }

  // What has the focus: the nearest id around it, and what finds it there.
  function focused() {
    const element = document.activeElement;
    const area = element && element.closest("#live [id]");
    return area && { id: area.id, tag: element.tagName, href: element.getAttribute("href") };
  }

  function focus(name) {
    const area = document.getElementById(name.id);
    if (!area) return;
    const same = [...area.querySelectorAll(name.tag)].find((each) => each.getAttribute("href") === name.href);
    (same || area).focus({ preventScroll: true });
  }

  // The first row in view that has a link, and where it is.
  function firstRow() {
    if (window.scrollY === 0) return null;
    for (const link of document.querySelectorAll("#live tbody th a")) {
      const { top } = link.getBoundingClientRect();
      if (top >= 0) return { href: link.getAttribute("href"), top };
    }
    return null;
  }

  function scrollTo({ href, top }) {
    const links = [...document.querySelectorAll("#live tbody th a")];
    const same = links.find((each) => each.getAttribute("href") === href);
    if (same) window.scrollBy(0, same.getBoundingClientRect().top - top);
  }

  const isSelecting = () => {
    const selection = window.getSelection();
    return Boolean(String(selection)) && live().contains(selection.anchorNode);
  };

  const on = (name, call) => document.body.addEventListener(name, call);

  // A proxy then refuses instead of leading to a login page, which would not be seen.
  on("htmx:configRequest", (event) => {
    event.detail.headers["X-Requested-With"] = "XMLHttpRequest";
  });
  on("htmx:beforeRequest", (event) => {
    if (document.hidden && Date.now() - asked < BACKGROUND) event.preventDefault();
    else asked = Date.now();
  });
  on("htmx:sendError", noAnswer);
  on("htmx:timeout", noAnswer);
  on("htmx:responseError", (event) => {
    if ([401, 403].includes(event.detail.xhr.status)) needsLogin();
    else noAnswer();
  });

  on("htmx:beforeSwap", (event) => {
    const { detail } = event;
    const found = parsed(detail.serverResponse);
    const next = found.getElementById("live");
    if (detail.isError && next) {
      // The worker itself says that what the page shows is not there, or not known.
      detail.isError = false;
      detail.shouldSwap = true;
    }
    if (detail.isError) return;
    if (!next) {
      detail.shouldSwap = false;
      needsLogin();
      return;
    }
    answers();
    // Another release has other scripts and styles.
    if (next.dataset.version !== version) window.location.reload();
    paused.hidden = !isSelecting();
    if (!paused.hidden) {
      detail.shouldSwap = false;
      document.title = found.title;
      return;
    }
    before = {
      focus: focused(),
      row: firstRow(),
      tables: [...document.querySelectorAll(".table[id]")].map((each) => [each.id, each.scrollLeft]),
      details: [...document.querySelectorAll("#live details[id]")].map((each) => [each.id, each.open]),
    };
  });

  on("htmx:afterSwap", () => {
    if (!before) return;
    const { focus: name, row, tables, details } = before;
    before = null;
    for (const [id, isOpen] of details) {
      const same = document.getElementById(id);
      if (same) same.open = isOpen;
    }
    for (const [id, left] of tables) {
      const same = document.getElementById(id);
      if (same) same.scrollLeft = left;
    }
    if (row) scrollTo(row);
    if (name) focus(name);
  });

  window.setInterval(() => {
    const seconds = Math.round((Date.now() - answered) / 1000);
    const age = document.getElementById("age");
    if (age) age.textContent = seconds < 5 ? "" : `, ${seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`} ago`;
  }, 1000);
})();
