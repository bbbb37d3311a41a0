"use strict";
// Draws the table of candidates from the embedded data. Names and reasons are others' text: they are set with textContent alone.
(() => {
  const $ = (id) => document.getElementById(id);
  document.documentElement.classList.add("scripted");
  const source = $("data").textContent;
  const data = JSON.parse(source);

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const time = (seconds) => {
    if (seconds === null) return "";
    const [factor, unit] = seconds >= 1 ? [1, "s"] : seconds >= 1e-3 ? [1e3, "ms"] : seconds >= 1e-6 ? [1e6, "µs"] : [1e9, "ns"];
    return Number((seconds * factor).toPrecision(4)).toString() + "\u00a0" + unit;
  };
  const save = (name, text, type) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  // The axis of the timelines.
  const axes = document.querySelectorAll("[data-axis]");
  for (const button of axes) {
    button.parentElement.hidden = false;
    button.addEventListener("click", () => {
      document.querySelector(".panels").classList.toggle("seconds", button.dataset.axis === "seconds");
      for (const other of axes) other.setAttribute("aria-pressed", String(other === button));
    });
  }

  // Files and raw data.
  for (const button of document.querySelectorAll("[data-file]")) {
    const text = data.files[button.dataset.file];
    if (text === undefined) continue;
    button.hidden = false;
    button.addEventListener("click", () => save(button.dataset.file, text, "text/plain"));
  }
  $("save").hidden = $("raw").hidden = false;
  $("save").addEventListener("click", () => save("report.json", source, "application/json"));
  $("raw").addEventListener("toggle", () => {
    // One candidate a line. Past a few megabytes a file is the better place.
    const most = 2000000;
    const text = source.replaceAll("],[", "],\n[");
    $("raw").querySelector("pre").textContent =
      text.length > most ? text.slice(0, most) + "\n… (the rest is in the file)" : text;
  }, { once: true });

  if (!$("table")) return;

  // Rows, with what sorting and searching look at.
  const groups = new Map();
  const rows = data.candidates.map((c, index) => {
    const [id, proposer, target, sizes, gate, verdict, reason, modelled, measured, registers, at, values, device, harness] = c;
    const tunables = [];
    data.tunables.forEach((name, position) => {
      if (values[position] !== null) tunables.push(name + "=" + values[position]);
    });
    const place = target + " " + sizes;
    const text = [id, proposer, place, gate, verdict, reason || "", device || "", ...tunables].join(" ").toLowerCase();
    const row = { index, id, proposer, target, sizes, place, gate, verdict, reason, modelled, measured, registers, at, tunables, device, harness, text };
    if (!groups.has(place)) groups.set(place, { measured: Infinity, modelled: Infinity });
    const best = groups.get(place);
    if (verdict === "pass") {
      if (measured !== null) best.measured = Math.min(best.measured, measured);
      if (modelled !== null) best.modelled = Math.min(best.modelled, modelled);
    }
    return row;
  });
  for (const row of rows) {
    const best = groups.get(row.place);
    // A measured time is compared with measured ones, a modelled one with modelled ones.
    row.ratio = row.measured !== null ? row.measured / best.measured : row.modelled !== null ? row.modelled / best.modelled : null;
    if (row.ratio !== null && !Number.isFinite(row.ratio)) row.ratio = null;
    row.win = row.verdict === "pass" && (best.measured < Infinity ? row.measured === best.measured : row.modelled === best.modelled);
  }

  const columns = [
    { key: "id", label: "candidate" },
    { key: "place", label: "sizes" },
    { key: "measured", label: "measured", number: true },
    { key: "modelled", label: "modelled", number: true },
    { key: "ratio", label: "against best", number: true },
    { key: "registers", label: "registers", number: true },
    { key: "verdict", label: "verdict" },
    { key: "gate", label: "gate" },
  ];
  const state = { key: "ratio", down: false, page: 0, search: "", group: "", verdict: "", basis: "" };
  const PAGE = 50;
  let visible = [];

  const compare = (a, b) => {
    const [x, y] = [a[state.key], b[state.key]];
    // What has no value comes last, whichever way the others stand.
    if (x === null || y === null) return (x === null) - (y === null) || a.index - b.index;
    let order = typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true });
    if (state.key === "ratio") order = (a.measured === null) - (b.measured === null) || order;
    return (state.down ? -order : order) || a.index - b.index;
  };

  const update = () => {
    const places = [...$("group").options].map((option) => option.textContent);
    const wanted = state.group === "" ? null : places[Number(state.group) + 1];
    const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
    visible = rows.filter((row) =>
      (wanted === null || row.place === wanted) &&
      (state.verdict === "" || row.verdict === state.verdict) &&
      (state.basis === "" || state.basis === (row.measured !== null ? "measured" : row.modelled !== null ? "modelled" : "none")) &&
      words.every((word) => row.text.includes(word)));
    visible.sort(compare);
    state.page = 0;
    draw();
  };

  const cell = (column, content) => {
    const td = make("td", column.number ? "number" : "");
    if (content !== "") td.dataset.label = column.label;
    td.append(content);
    return td;
  };

  const details = (row) => {
    const tr = make("tr", "more");
    const td = make("td");
    td.colSpan = columns.length;
    if (row.reason) td.append(make("p", "", row.reason));
    const list = make("ul", "tunables");
    for (const pair of row.tunables) list.append(make("li", "", pair));
    td.append(list);
    const facts = ["by " + (row.proposer || "an unnamed proposer"), "number " + (row.index + 1) + (data.evidence ? "" : " of the search")];
    if (row.at !== null) facts.push("last verdict after " + row.at.toFixed(2) + " s");
    if (row.device !== null) facts.push("on " + row.device);
    if (row.harness !== null) facts.push("judged by version " + row.harness);
    const samples = data.samples[row.index];
    if (samples) facts.push("samples: " + samples.map(time).join(", "));
    td.append(make("p", "hint", facts.join(" · ")));
    tr.append(td);
    return tr;
  };

  const draw = () => {
    const first = state.page * PAGE;
    const shown = visible.slice(first, first + PAGE);
    const body = document.createDocumentFragment();
    for (const row of shown) {
      const tr = make("tr", row.win ? "win" : "");
      const name = make("button", "name", row.id);
      name.type = "button";
      name.setAttribute("aria-expanded", "false");
      name.addEventListener("click", () => {
        const open = name.getAttribute("aria-expanded") === "true";
        name.setAttribute("aria-expanded", String(!open));
        if (open) tr.nextSibling.remove(); else tr.after(details(row));
      });
      const badge = make("span", "badge " + (/^[a-z]+$/.test(row.verdict) ? row.verdict : ""), row.verdict);
      const ratio = row.ratio === null ? "" : row.ratio.toFixed(3) + "×" + (row.measured === null ? " (model)" : "");
      const contents = [name, row.place, time(row.measured), time(row.modelled), ratio, row.registers === null ? "" : String(row.registers), badge, row.gate];
      columns.forEach((column, position) => tr.append(cell(column, contents[position])));
      body.append(tr);
    }
    $("table").tBodies[0].replaceChildren(body);
    const pages = Math.max(1, Math.ceil(visible.length / PAGE));
    $("page").textContent = "Page " + (state.page + 1) + " of " + pages;
    $("previous").disabled = state.page === 0;
    $("next").disabled = state.page + 1 >= pages;
    $("shown").textContent = visible.length === rows.length
      ? rows.length + " candidates"
      : visible.length + " of " + rows.length + " candidates";
    for (const th of $("table").tHead.rows[0].cells) {
      if (th.dataset.key === state.key) th.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
    $("sort").value = state.key + (state.down ? " down" : "");
  };

  const head = make("tr");
  for (const column of columns) {
    const th = make("th", column.number ? "number" : "");
    th.scope = "col";
    th.dataset.key = column.key;
    const button = make("button", "", column.label);
    button.type = "button";
    button.addEventListener("click", () => {
      state.down = state.key === column.key ? !state.down : false;
      state.key = column.key;
      update();
    });
    th.append(button);
    head.append(th);
    for (const down of [false, true]) {
      const option = make("option", "", column.label + (down ? " ↓" : " ↑"));
      option.value = column.key + (down ? " down" : "");
      $("sort").append(option);
    }
  }
  $("table").tHead.replaceChildren(head);
  $("sort").addEventListener("change", () => {
    const [key, down] = $("sort").value.split(" ");
    state.key = key;
    state.down = down === "down";
    update();
  });
  for (const name of ["search", "group", "verdict", "basis"]) {
    $(name).addEventListener("input", () => {
      state[name] = $(name).value;
      update();
    });
  }
  const form = document.querySelector(".filters");
  form.hidden = document.querySelector(".pages").hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  const turn = (pages) => {
    state.page += pages;
    draw();
    $("candidates").scrollIntoView();
  };
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  update();
})();
