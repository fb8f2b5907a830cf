// What a reader would notice, asked of a page in the browser.
(() => {
  const main = document.querySelector("main");
  const rgb = (text) => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) =>
    [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (of) => {
    for (; of; of = of.parentElement) {
      const color = rgb(getComputedStyle(of).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const of of document.querySelectorAll("body *")) {
    const own = [...of.childNodes].some((it) => it.nodeType === 3 && it.data.trim());
    if (!own || !of.checkVisibility()) continue;
    const [a, b] = [light(rgb(getComputedStyle(of).color)), light(behind(of))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${of.textContent.slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return {
    title: document.title,
    text: main.textContent,
    width: innerWidth,
    content: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth),
    faint,
    strangers: [...main.querySelectorAll("img, script, iframe, style, link, object, form, base, [onerror], [style]")].map((it) => it.outerHTML),
    unscoped: main.querySelectorAll("th:not([scope])").length,
    tables: [...main.querySelectorAll("table")].map((it) => it.tBodies[0].rows.length),
    headings: [...main.querySelectorAll("h4, h2")].map((it) => it.firstChild.textContent.trim()),
    links: [...main.querySelectorAll("a")].map((it) => it.origin === location.origin ? it.pathname + it.hash : it.href),
  };
})()
