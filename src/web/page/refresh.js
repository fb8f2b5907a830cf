// Looks again now and then, and replaces what the page shows. Where the reader is stays: the place
// on the page, and what is unfolded. Without scripts the page is the same and stands still.
setInterval(async () => {
  if (document.hidden) return;
  const stale = document.getElementById("stale");
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.status);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    for (const open of document.querySelectorAll("main details[open]")) {
      const same = next.querySelector("#" + CSS.escape(open.id));
      if (same) same.open = true;
    }
    document.querySelector("main").replaceWith(next);
    stale.hidden = true;
  } catch {
    stale.hidden = false;
  }
}, 15000);
