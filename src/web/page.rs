//! The frame of every page: no outside assets, light and dark, on a phone as on a screen.

use super::status::escape;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--good:#2a7d3b;--bad:#b3261e;--bar:#3b6fb6}\
@media(prefers-color-scheme:dark){:root{--good:#6fcf83;--bad:#ff8a80;--bar:#7fa8e0}}\
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:75rem}\
nav{margin-bottom:1rem}nav a{margin-right:1rem}\
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:1.4rem 0 .4rem}h3{font-size:1rem;margin:1rem 0 .3rem}\
table{border-collapse:collapse}th,td{text-align:left;padding:.25rem .8rem .25rem 0;vertical-align:top}\
tbody tr{border-top:1px solid var(--line)}td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
.wide{overflow-x:auto}.good{color:var(--good)}.bad{color:var(--bad)}.soft{opacity:.75}\
.bar{display:block;width:10rem;max-width:30vw;height:.7rem;background:var(--soft);border-radius:.35rem;overflow:hidden}\
.bar i{display:block;height:100%;background:var(--bar)}";

/// A whole page around `body`, which is HTML already.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{} · FlexVM exporter</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>{STYLE}</style></head><body>\n\
         <nav><a href=\"/\">Status</a><a href=\"/reports/\">Reports</a></nav>\n{body}\n</body></html>\n",
        escape(title)
    )
}
