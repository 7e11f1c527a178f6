(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, from) => [...(from || document).querySelectorAll(selector)];

  // The switch between light and dark.
  const theme = document.getElementById("theme");
  const remembered = () => { try { return localStorage.getItem("qengine-theme"); } catch { return null; } };
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const named = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-pressed", String(isDark())); };
  if (remembered()) root.dataset.theme = remembered();
  theme.hidden = false;
  theme.setAttribute("aria-label", "Dark colours");
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("qengine-theme", root.dataset.theme); } catch { /* a page without storage */ }
    named();
  });
  named();

  // The contents are folded where they would fill the screen.
  if (matchMedia("(max-width: 40rem)").matches) all("nav details").forEach(one => { one.open = false; });

  // Buttons that copy a command.
  all("button.copy").forEach(button => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = button.parentElement.querySelector("code").textContent;
      try { await navigator.clipboard.writeText(text); } catch {
        const range = document.createRange();
        range.selectNodeContents(button.parentElement.querySelector("code"));
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  });

  // Tables that are sorted by a click on a heading. Folded rows are sorted with those that are shown.
  const keyOf = row => column => {
    const cell = row.cells[column];
    const value = cell.dataset.value;
    return value === undefined ? cell.textContent.trim() : Number(value);
  };
  const compare = (a, b) => {
    if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b);
    return typeof a === "number" ? -1 : 1;
  };
  all(".scroll > table").forEach(table => {
    const folded = table.parentElement.nextElementSibling;
    const more = folded && folded.matches("details.rows") ? folded.querySelector("table") : null;
    if (table.closest("details.rows") || !table.tBodies.length) return;
    const bodies = [table.tBodies[0], ...(more ? [more.tBodies[0]] : [])];
    if (bodies[0].rows.length < 3) return;
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        headings.forEach(one => one.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = bodies.flatMap(body => [...body.rows]);
        const shown = bodies[0].rows.length;
        const keyed = rows.map((row, i) => [keyOf(row)(column), i, row]);
        keyed.sort((a, b) => (down ? -compare(a[0], b[0]) : compare(a[0], b[0])) || a[1] - b[1]);
        keyed.forEach(([, , row], i) => bodies[i < shown ? 0 : 1].append(row));
      });
    });
  });

  // The search among tensors.
  const find = document.getElementById("find-tensor");
  if (find) {
    find.closest("label").hidden = false;
    find.addEventListener("input", () => {
      const words = find.value.toLowerCase();
      all("#tensors tbody tr").forEach(row => { row.hidden = !row.cells[0].textContent.toLowerCase().includes(words); });
      if (words) all("#tensors details.rows").forEach(one => { one.open = true; });
    });
  }

  // A link to a row that is folded or hidden shows it.
  const reveal = () => {
    const target = location.hash.length > 1 ? document.getElementById(location.hash.slice(1)) : null;
    if (!target) return;
    const fold = target.closest("details");
    if (fold) fold.open = true;
    target.hidden = false;
    if (target.matches("tr")) {
      target.scrollIntoView({ block: "center" });
      target.focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", reveal);
  reveal();

  // The graph: a window that moves over the drawing.
  const view = document.querySelector(".graph"), drawing = document.getElementById("graph");
  if (!view || !drawing) return;
  const whole = drawing.viewBox.baseVal, size = { width: whole.width, height: whole.height };
  const tools = document.querySelector(".tools");
  let x = 0, y = 0, scale = 1;
  view.classList.add("live");
  drawing.removeAttribute("width");
  drawing.removeAttribute("height");
  drawing.setAttribute("preserveAspectRatio", "xMidYMin meet");
  tools.hidden = false;
  const area = () => ({ width: view.clientWidth || 1, height: view.clientHeight || 1 });
  const draw = () => {
    const { width, height } = area();
    drawing.setAttribute("viewBox", `${x} ${y} ${width / scale} ${height / scale}`);
  };
  const least = () => Math.min(1, area().width / size.width, area().height / size.height) * 0.8;
  const zoom = (factor, atX, atY) => {
    const next = Math.min(Math.max(scale * factor, least()), 4);
    x += atX / scale - atX / next;
    y += atY / scale - atY / next;
    scale = next;
    draw();
  };
  const fit = () => {
    const { width, height } = area();
    scale = Math.min(width / size.width, height / size.height, 1.25);
    x = (size.width - width / scale) / 2;
    y = (size.height - height / scale) / 2;
    draw();
  };
  const start = () => {
    const { width, height } = area();
    scale = Math.min(Math.max(Math.min(width / size.width, height / size.height), 0.75), 1);
    if (size.width * scale <= width) x = (size.width - width / scale) / 2;
    else {
      const first = drawing.querySelector(".node");
      const box = first ? first.getCTM() && first.transform.baseVal.consolidate().matrix : null;
      x = box ? box.e + 88 - width / scale / 2 : 0;
    }
    y = size.height * scale <= height ? (size.height - height / scale) / 2 : 0;
    draw();
  };
  const middle = factor => zoom(factor, area().width / 2, area().height / 2);
  const actions = { in: () => middle(1.3), out: () => middle(1 / 1.3), fit };
  all("button", tools).forEach(button => button.addEventListener("click", () => actions[button.dataset.zoom]()));
  view.addEventListener("keydown", event => {
    const step = 60 / scale;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) { x += moves[event.key][0]; y += moves[event.key][1]; draw(); }
    else if (event.key === "+" || event.key === "=") middle(1.3);
    else if (event.key === "-") middle(1 / 1.3);
    else if (event.key === "0") fit();
    else return;
    event.preventDefault();
  });
  view.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = view.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  const fingers = new Map();
  let moved = 0;
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y) || 1;
  };
  view.addEventListener("pointerdown", event => {
    if (event.button) return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    moved = 0;
  });
  addEventListener("pointermove", event => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const before = fingers.size === 2 ? spread() : 0;
    const dx = event.clientX - last.x, dy = event.clientY - last.y;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    moved += Math.abs(dx) + Math.abs(dy);
    if (fingers.size === 2) {
      const box = view.getBoundingClientRect(), [a, b] = [...fingers.values()];
      zoom(spread() / before, (a.x + b.x) / 2 - box.left, (a.y + b.y) / 2 - box.top);
    } else if (moved > 4) {
      view.classList.add("moving");
      x -= dx / scale;
      y -= dy / scale;
      draw();
    }
  });
  const up = event => { fingers.delete(event.pointerId); view.classList.remove("moving"); };
  addEventListener("pointerup", up);
  addEventListener("pointercancel", up);
  drawing.addEventListener("dragstart", event => event.preventDefault());
  drawing.addEventListener("click", event => { if (moved > 4) event.preventDefault(); }, true);
  // A node that gets the focus comes into view.
  all("a", drawing).forEach(link => link.addEventListener("focus", () => {
    if (!link.matches(":focus-visible")) return;
    const box = link.querySelector(".node").transform.baseVal.consolidate().matrix, { width, height } = area();
    view.scrollTop = view.scrollLeft = 0;
    if (box.e < x || box.e + 176 > x + width / scale) x = box.e + 88 - width / scale / 2;
    if (box.f < y || box.f + 60 > y + height / scale) y = box.f + 30 - height / scale / 2;
    draw();
  }));
  addEventListener("resize", draw);
  start();
})();
