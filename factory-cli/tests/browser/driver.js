// Appended to a copy of a page by the browser test: uses the page as a person would, and tells the frame around it what came of it.
addEventListener("load", () => {
  const $ = (id) => document.getElementById(id);
  const facts = { errors: window.driverErrors, width: innerWidth, scroll: document.documentElement.scrollWidth };

  // What sticks out to the right, unless it lies in something that scrolls by itself.
  const scrolls = (element) => element.closest("nav, pre, .scroll, .skip") !== null;
  const outside = () => [...document.querySelectorAll("body *")]
    .filter((element) => !scrolls(element) && element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => element.tagName + "." + element.getAttribute("class"));
  facts.outside = outside();

  // Text against what is behind it, by the formula of WCAG 2.
  const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = numbers(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const faint = () => {
    const found = new Map();
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
      if (!own || !element.getClientRects().length || element.closest(".skip, button:disabled, option")) continue;
      const style = getComputedStyle(element);
      const color = numbers(element instanceof SVGElement ? style.fill : style.color);
      const ratio = contrast(luminance(color), luminance(behind(element)));
      if (ratio < 4.5) found.set(element.tagName + "." + element.getAttribute("class"), Math.round(ratio * 100) / 100);
    }
    return Object.fromEntries(found);
  };
  facts.dark = matchMedia("(prefers-color-scheme: dark)").matches;
  facts.faint = faint();
  facts.headings = [...document.querySelectorAll("h1, h2, h3")].map((heading) => Number(heading.tagName[1]));
  facts.unnamed = [...document.querySelectorAll("button, select, input, svg")]
    .filter((e) => e.getClientRects().length && !e.textContent.trim() && !e.closest("label") && !e.getAttribute("aria-label"))
    .length;
  facts.scripts = document.scripts.length;
  facts.foreign = document.querySelectorAll("body img, body iframe, body b b, body [onerror], body [onload]").length;
  facts.hacked = window.hacked === undefined ? null : String(window.hacked);
  facts.loads = performance.getEntriesByType("resource").length;

  const table = $("table");
  if (table && table.tHead.querySelector("button")) {
    const body = () => [...table.tBodies[0].rows];
    const column = (label) => [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === label);
    const cells = (label) => body().map((row) => row.cells[column(label)].textContent);
    const press = (label) => table.tHead.rows[0].cells[column(label)].querySelector("button").click();
    const set = (id, value) => { $(id).value = value; $(id).dispatchEvent(new Event("input")); };
    const began = performance.now();
    facts.first = cells("candidate")[0];
    facts.rows = body().length;
    facts.shown = $("shown").textContent;
    press("modelled");
    facts.rising = cells("modelled");
    press("modelled");
    facts.falling = cells("modelled");
    facts.sorted = table.tHead.rows[0].cells[column("modelled")].getAttribute("aria-sort");
    press("candidate");
    facts.names = cells("candidate");
    set("search", "surely nothing is called so");
    facts.none = $("shown").textContent;
    set("search", facts.first);
    facts.found = cells("candidate");
    set("search", "");
    set("verdict", [...$("verdict").options].at(-1).value);
    facts.verdict = [...new Set(cells("verdict"))];
    set("verdict", "");
    set("group", "0");
    facts.group = [...new Set(cells("sizes"))];
    set("group", "");
    facts.pageBefore = $("page").textContent;
    $("next").click();
    facts.pageAfter = $("page").textContent;
    $("previous").click();
    facts.milliseconds = performance.now() - began;
    const name = table.tBodies[0].querySelector("button");
    name.click();
    facts.details = name.getAttribute("aria-expanded") + " " + table.querySelector(".more").textContent;
    facts.outsideOpen = outside();
    name.click();
    facts.closed = table.querySelector(".more") === null;
    $("sort").value = "gate down";
    $("sort").dispatchEvent(new Event("change"));
    facts.gates = cells("gate");
  }
  const seconds = document.querySelector("[data-axis=seconds]");
  if (seconds) {
    seconds.click();
    const visible = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.getClientRects().length).length;
    facts.axis = [visible(".by-seconds"), visible(".by-candidates")];
  }
  $("raw").open = true;
  $("raw").dispatchEvent(new Event("toggle"));
  facts.raw = $("raw").querySelector("pre").textContent.length;
  facts.hackedAfter = window.hacked === undefined ? null : String(window.hacked);

  // In hexadecimal, so that nothing in it is taken for HTML.
  const bytes = [...new TextEncoder().encode(JSON.stringify(facts))];
  parent.postMessage(bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(""), "*");
});
