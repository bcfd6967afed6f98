// What a reader may do with the page: sort and filter its tables, point at its curves, open a cell.
// Without this script the page says all the same. Every word of the run is set as text, never as
// markup.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data.cells) return;
  const root = document.documentElement;
  root.classList.add("js");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  // Tables: the library sorts on a click in a heading; a button lets the keyboard do so, too.
  for (const heading of all("table.sortable thead th")) {
    const button = element("button", { type: "button" }, ...heading.childNodes);
    heading.append(button);
  }

  // Cells: a method on a problem opens its seeds, diagnostics, settings and log.
  const dialog = document.getElementById("cell");

  function rows(cells, part) {
    const names = [...new Set(cells.flatMap((cell) => cell[part].map(([name]) => name)))];
    return names.map((name) => [
      name,
      ...cells.map((cell) => {
        const found = cell[part].find((row) => row[0] === name);
        return found ? found.slice(1).filter(Boolean) : ["—"];
      }),
    ]);
  }

  function table(caption, what, cells, lines) {
    const head = element("tr", {}, element("th", { scope: "col" }, what));
    for (const cell of cells) head.append(element("th", { scope: "col" }, `seed ${cell.seed}`));
    const body = lines.map(([name, ...entries]) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, name),
        ...entries.map(([text, more]) =>
          element("td", {}, text, ...(more ? [element("small", {}, more)] : [])),
        ),
      ),
    );
    const made = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
    const scroll = element("div", { className: "scroll", tabIndex: 0 }, made);
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", caption);
    return [element("h3", {}, caption), scroll];
  }

  function open(method, problem) {
    const cells = data.cells.filter((c) => c.method === method && c.problem === problem);
    if (!cells.length) return;
    const settings = data.methods[method]?.settings;
    const close = element("button", { type: "button", className: "close" }, "Close");
    close.addEventListener("click", () => dialog.close());
    const ends = cells.map((c) => [c.status, c.reason]);
    const diagnostics = rows(cells, "diagnostics");
    const logs = cells.filter((cell) => cell.log);
    dialog.replaceChildren(
      close,
      element("h2", { id: "cell-title" }, `${method} on ${problem}`),
      ...(settings ? [element("p", { className: "legend" }, `Settings: ${settings}.`)] : []),
      ...table("Figures at the end", "Metric", cells, [["how it ended", ...ends], ...rows(cells, "figures")]),
      ...(diagnostics.length
        ? table("What the method says of itself", "Diagnostic", cells, diagnostics)
        : [element("p", { className: "legend" }, "The method says nothing of itself.")]),
      ...(logs.length
        ? logs.flatMap((c) => [
            element("h3", {}, `What seed ${c.seed} printed`),
            element("pre", { tabIndex: 0 }, c.log),
          ])
        : [element("p", { className: "legend" }, "Nothing was printed.")]),
    );
    dialog.showModal();
  }

  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });

  // Which method and problem a place in a table speaks of: its row, its column, its section.
  function subject(place) {
    const row = place.closest("tr");
    const section = place.closest("section[data-problem]");
    const table = place.closest("table");
    const column = table.tHead.rows[0].cells[place.cellIndex];
    return {
      method: row.dataset.method ?? column?.dataset.method,
      problem: row.dataset.problem ?? column?.dataset.problem ?? section?.dataset.problem,
    };
  }

  const known = new Set(data.cells.map((cell) => JSON.stringify([cell.method, cell.problem])));
  const has = (s) => known.has(JSON.stringify([s.method, s.problem]));

  for (const place of all("main .sheet tbody td")) {
    const found = subject(place);
    if (!has(found)) continue;
    place.classList.add("opens");
    place.addEventListener("click", () => open(found.method, found.problem));
  }
  for (const place of all("section.problem .sheet tbody th")) {
    const found = subject(place);
    if (!has(found)) continue;
    const name = [...place.childNodes].filter((node) => node.nodeName !== "SMALL");
    const button = element("button", { type: "button", className: "open" }, ...name);
    button.title = "Seeds, diagnostics, settings and log";
    button.addEventListener("click", () => open(found.method, found.problem));
    place.prepend(button);
  }

  // Curves: the same as the picture, to point at; of one cost at a time.
  const charts = [];
  const CURVES =
    "Lower and further left is better. Each line is one seed of a method, its last point the" +
    " largest; a bar spans two bounds; grey is the noise floor of estimates. What reads 0 or less has" +
    " no place on a logarithmic axis. Point at a line for its figure, or click on it for all that" +
    " is known of its cell.";
  const COSTS = { gradients: [2, "Gradient evaluations"], seconds: [3, "Fitting time, seconds"] };
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function datasets(problem, cost) {
    const found = new Map();
    for (const point of data.problems[problem].points) {
      const [method, seed, , , value, upper, words] = point;
      const spent = point[COSTS[cost][0]];
      if (!(spent > 0) || !(value > 0)) continue;
      const key = JSON.stringify([method, seed]);
      if (!found.has(key)) found.set(key, { method, seed, points: [] });
      found.get(key).points.push({ x: spent, y: value, upper, words });
    }
    return [...found.values()].map(({ method, seed, points }) => {
      const look = data.methods[method];
      const ink = dark.matches ? look.dark : look.colour;
      return {
        label: method,
        seed,
        data: points,
        borderColor: ink,
        backgroundColor: ink,
        borderDash: look.dashes,
        borderWidth: 1.5,
        pointRadius: points.map((_, i) => (i === points.length - 1 ? 4 : 2)),
        pointHoverRadius: 6,
        hidden: Boolean(filters.method && filters.method !== method),
      };
    });
  }

  // The truth's own reading, below which an estimate says nothing.
  const floorBand = {
    id: "floor",
    beforeDatasetsDraw(chart) {
      const floor = chart.options.plugins.floor.height;
      if (!floor) return;
      const { left, right, bottom, top } = chart.chartArea;
      const y = Math.min(Math.max(chart.scales.y.getPixelForValue(floor), top), bottom);
      chart.ctx.save();
      chart.ctx.fillStyle = colour("--shade");
      chart.ctx.fillRect(left, y, right - left, bottom - y);
      chart.ctx.restore();
    },
  };

  // A quantity known between two bounds: a bar from the lower to the upper.
  const brackets = {
    id: "brackets",
    afterDatasetsDraw(chart) {
      const { ctx, scales } = chart;
      chart.data.datasets.forEach((set, i) => {
        if (!chart.isDatasetVisible(i)) return;
        ctx.strokeStyle = set.borderColor;
        for (const { x, y, upper } of set.data.filter((point) => point.upper)) {
          const across = scales.x.getPixelForValue(x);
          ctx.beginPath();
          ctx.moveTo(across, scales.y.getPixelForValue(y));
          ctx.lineTo(across, scales.y.getPixelForValue(upper));
          ctx.stroke();
        }
      });
    },
  };

  function axis(title) {
    return {
      type: "logarithmic",
      title: { display: true, text: title, color: colour("--soft") },
      ticks: { color: colour("--soft"), maxTicksLimit: 9 },
      grid: { color: colour("--rule") },
    };
  }

  function options(problem, cost) {
    const about = data.problems[problem];
    return {
      animation: false,
      maintainAspectRatio: false,
      parsing: false,
      normalized: true,
      interaction: { mode: "nearest", intersect: false },
      scales: { x: axis(COSTS[cost][1]), y: axis(about.metric) },
      onClick: (_, hit, chart) => {
        if (hit.length) open(chart.data.datasets[hit[0].datasetIndex].label, problem);
      },
      plugins: {
        floor: { height: about.floor },
        legend: {
          labels: {
            color: colour("--ink"),
            filter: (item, { datasets }) =>
              datasets.findIndex((set) => set.label === item.text) === item.datasetIndex,
          },
          onClick: (_, item, legend) => {
            const shown = legend.chart.isDatasetVisible(item.datasetIndex);
            legend.chart.data.datasets.forEach((set, i) => {
              if (set.label === item.text) legend.chart.setDatasetVisibility(i, !shown);
            });
            legend.chart.update();
          },
        },
        tooltip: {
          callbacks: {
            title: ([item]) => `${item.dataset.label}, seed ${item.dataset.seed}`,
            label: (item) => [
              item.raw.words,
              `${item.parsed.x.toPrecision(3)} ${cost === "seconds" ? "s" : "gradients"}`,
            ],
          },
        },
      },
    };
  }

  function curves(figure) {
    const problem = figure.dataset.curves;
    if (!data.problems[problem]?.points.some((point) => point[4] > 0)) return;
    const canvas = element("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", figure.querySelector("img").alt);
    const group = element("div", {}, "Against");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Cost");
    const words = element("p", { className: "legend" }, CURVES);
    const place = element("div", { className: "curves" }, group, element("div", {}, canvas), words);
    figure.prepend(place);
    const made = { problem, cost: "gradients" };
    made.chart = new Chart(canvas, {
      type: "line",
      data: { datasets: datasets(problem, made.cost) },
      options: options(problem, made.cost),
      plugins: [floorBand, brackets],
    });
    for (const cost of Object.keys(COSTS)) {
      const button = element("button", { type: "button" }, cost);
      button.setAttribute("aria-pressed", String(cost === made.cost));
      button.addEventListener("click", () => {
        made.cost = cost;
        for (const each of all("button", group)) {
          each.setAttribute("aria-pressed", String(each === button));
        }
        redraw(made);
      });
      group.append(button);
    }
    charts.push(made);
  }

  function redraw(made) {
    made.chart.data.datasets = datasets(made.problem, made.cost);
    made.chart.options = options(made.problem, made.cost);
    made.chart.update();
  }

  // Filters: what does not answer to a choice is hidden, and how much is left is said.
  const form = document.getElementById("filters");
  const filters = {};
  const floor = "exact";

  function keeps(dataset) {
    const { problem, method, metric } = dataset;
    if (filters.method && method && method !== filters.method && method !== floor) return false;
    if (filters.metric && metric && metric !== filters.metric) return false;
    if (!problem) return true;
    if (filters.problem && problem !== filters.problem) return false;
    return !filters.trait || Boolean(data.problems[problem]?.traits.includes(filters.trait));
  }

  function filterTable(table) {
    const kept = [...table.tHead.rows[0].cells].map((cell) => keeps(cell.dataset));
    for (const row of table.rows) {
      row.hidden = !keeps(row.dataset);
      [...row.cells].forEach((cell, i) => {
        cell.hidden = !kept[i];
        const { kind } = cell.dataset;
        cell.classList.toggle("other", Boolean(filters.kind && kind && kind !== filters.kind));
      });
    }
    const empty = kept.length > 1 && !kept.slice(1).some(Boolean);
    table.closest("figure").hidden = empty;
  }

  function filter() {
    for (const [name, value] of new FormData(form)) filters[name] = value;
    for (const place of all("section[data-problem], .verdict[data-problem]")) {
      place.hidden = !keeps(place.dataset);
    }
    all("main .sheet table").forEach(filterTable);
    charts.forEach(redraw);
    const cells = data.cells.filter((cell) => cell.method !== floor);
    const left = cells.filter((cell) => keeps({ problem: cell.problem, method: cell.method }));
    const said = left.length < cells.length ? `${left.length} of ${cells.length} cells` : "";
    form.querySelector("output").textContent = said;
  }

  all("figure[data-curves]").forEach(curves);
  if (form.querySelector("select")) {
    form.hidden = false;
    form.addEventListener("input", filter);
    form.addEventListener("reset", () => setTimeout(filter));
  }
  dark.addEventListener("change", () => charts.forEach(redraw));
})();
