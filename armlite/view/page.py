"""Style and script of the HTML page, as text: nothing to install beside the code, nothing to load from elsewhere."""

_DARK = """--paper: #16171b; --card: #1e2026; --ink: #e8e6e1; --soft: #9a968d; --line: #32343c; --accent: #86a8ff;
  --think: #c29bf0; --right: #5fcf8f; --wrong: #ff7d70; --gold: #e6b84a; --shade: #262930;"""
"""Colours by night, or where they are wished for."""
STYLE = """
:root { color-scheme: light dark; --paper: #faf9f6; --card: #ffffff; --ink: #22211e; --soft: #6f6b63; --line: #e4e0d8;
  --accent: #2f5fd0; --think: #7b4bb3; --right: #1f8a4c; --wrong: #c63a2f; --gold: #a97400; --box: #ff4030;
  --shade: #f3f0ea; }
@media (prefers-color-scheme: dark) { :root:not([data-theme=light]) { DARK } }
:root[data-theme=dark] { color-scheme: dark; DARK }
:root[data-theme=light] { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; display: grid;
  grid-template: "bar bar" auto "nav main" 1fr / 290px minmax(0, 1fr); min-height: 100vh; }
code, pre { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
small { color: var(--soft); font-size: 12.5px; font-weight: normal; }
p, pre, h1, h2 { margin: 0; }
.bar { grid-area: bar; position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap; gap: 8px;
  align-items: center;
  padding: 9px 18px; background: var(--card); border-bottom: 1px solid var(--line); }
.bar .title { color: var(--soft); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 34ch; }
.bar .chips { display: flex; gap: 4px; margin-left: auto; }
.bar .place { color: var(--soft); min-width: 5.5em; text-align: right; font-variant-numeric: tabular-nums; }
.bar button, .bar select { font: inherit; font-size: 13.5px; color: inherit; background: var(--paper);
  cursor: pointer;
  border: 1px solid var(--line); border-radius: 7px; padding: 3px 10px; }
.bar select { max-width: 24ch; }
.bar button b { font-weight: 600; color: var(--soft); }
.bar button[aria-pressed=true] { border-color: var(--accent); color: var(--accent); }
.bar button:disabled { opacity: .4; cursor: default; }
nav { grid-area: nav; position: sticky; top: 49px; align-self: start; max-height: calc(100vh - 49px); overflow: auto;
  padding: 10px; border-right: 1px solid var(--line); min-height: calc(100vh - 49px); }
nav a { display: flex; gap: 9px; padding: 7px 10px; border-radius: 8px; color: inherit; text-decoration: none;
  font-size: 14px; }
nav a span { min-width: 0; overflow-wrap: anywhere; }
nav a span > small:last-child { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
nav a.current { background: var(--card); box-shadow: 0 0 0 1px var(--line); font-weight: 600; }
i.right, i.wrong, i.unknown { font-style: normal; font-weight: 700; width: 1em; flex: none; }
.right { color: var(--right); } .wrong { color: var(--wrong); } .unknown { color: var(--soft); }
main { grid-area: main; padding: 26px clamp(14px, 4vw, 56px) 80px; }
article { max-width: 1000px; margin: 0 auto 60px; }
.js article:not(.current), .js [hidden] { display: none; }
article > header { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
h1 { font-size: 14px; font-weight: 600; color: var(--soft); margin-right: 6px; overflow-wrap: anywhere; }
.badge { font-size: 12px; color: var(--soft); border: 1px solid var(--line); border-radius: 99px; padding: 1px 9px; }
.question { font-size: 22px; line-height: 1.35; font-weight: 600; margin: 10px 0 16px; white-space: pre-wrap;
  overflow-wrap: anywhere; text-wrap: pretty; }
.must { margin: 0 0 16px; padding-left: 20px; color: var(--soft); }
.responses { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 12px;
  margin: 18px 0 12px; }
.responses section { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 12px 16px; }
.responses section.picked { border-color: var(--accent); box-shadow: inset 3px 0 0 var(--accent); }
.responses p, .part > div { white-space: pre-wrap; overflow-wrap: anywhere; }
.responses p { max-height: 340px; overflow: auto; }
h2 { font-size: 12.5px; font-weight: 600; color: var(--soft); display: flex; gap: 9px; margin-bottom: 4px; }
.gold { color: var(--gold); } .chosen { color: var(--accent); margin-left: auto; }
.gallery { display: flex; flex-wrap: wrap; gap: 14px; align-items: start; margin: 12px 0; }
figure { margin: 0; max-width: 100%; }
figcaption { font-size: 12px; color: var(--soft); margin-top: 4px; font-variant-numeric: tabular-nums; }
.frame { position: relative; display: block; padding: 0; border: 0; background: none; border-radius: 9px;
  overflow: hidden;
  cursor: zoom-in; box-shadow: 0 0 0 1px var(--line); max-width: 100%; }
.frame img { display: block; max-width: 100%; height: auto; }
.box { position: absolute; border: 2.5px solid var(--box); border-radius: 2px;
  box-shadow: 0 0 0 1.5px #fffc, 0 0 0 2000px #0004; }
.lost p { color: var(--wrong); border: 1px dashed; border-radius: 9px; padding: 18px; max-width: 320px;
  font-size: 13px;
  overflow-wrap: anywhere; }
.steps { list-style: none; counter-reset: step; margin: 26px 0 0; padding: 0; }
.steps > li { counter-increment: step; position: relative; padding: 0 0 22px 42px; }
.steps > li::before { content: counter(step); position: absolute; left: 0; top: 0; width: 26px; height: 26px;
  border-radius: 50%;
  background: var(--card); border: 1px solid var(--line); color: var(--soft); text-align: center;
  font: 600 12.5px/24px system-ui; }
.steps > li:not(:last-child)::after { content: ""; position: absolute; left: 13px; top: 30px; bottom: 4px; width: 1px;
  background: var(--line); }
.part { display: grid; grid-template-columns: 58px minmax(0, 1fr); gap: 12px; margin-bottom: 9px; padding-top: 2px; }
.part > b { font-size: 12.5px; line-height: 24px; text-align: right; color: var(--soft); }
.steps .gallery { margin-left: 70px; }
.think > div { font-style: italic; } .think > b { color: var(--think); }
.call > b { color: var(--accent); }
.call code { display: inline-block; background: var(--shade); border-radius: 7px; padding: 2px 9px;
  white-space: pre-wrap; }
.call code b { color: var(--accent); }
.result > b { color: var(--right); } .failed > b, .fault > b { color: var(--wrong); }
  .notice > b, .said > b { color: var(--gold); }
.result > div, .notice > div { color: var(--soft); } .failed > div, .fault > div { color: var(--wrong); }
.answer > div { font-weight: 600; } .answer > b { color: var(--right); }
details { margin: 4px 0 0; color: var(--soft); } .steps details { margin-left: 70px; }
summary { cursor: pointer; font-size: 12.5px; }
pre { background: var(--shade); border-radius: 9px; padding: 12px 14px; margin-top: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; color: var(--ink); max-height: 420px; overflow: auto; }
article > footer { background: var(--card); border: 1px solid; border-radius: 12px; padding: 14px 18px; }
article > footer strong { font-size: 17px; }
article > footer table { color: var(--ink); border-spacing: 0; margin-top: 10px; width: min(460px, 100%); }
th { text-align: left; font-weight: normal; padding: 2px 14px 2px 0; width: 1%; white-space: nowrap; }
td { font-variant-numeric: tabular-nums; padding: 2px 14px 2px 0; width: 1%; } td:last-child { width: auto; }
i.bar { display: block; height: 7px; padding: 0; border: 0; border-radius: 4px; background: var(--right);
  position: static; }
i.bar.minus { background: var(--wrong); }
dialog { border: 0; padding: 0; background: none; max-width: 96vw; max-height: 96vh; }
dialog .frame { cursor: zoom-out; } dialog img { width: auto; max-width: 94vw; max-height: 92vh; }
dialog::backdrop { background: #000a; }
.nothing { color: var(--soft); text-align: center; padding: 60px; }
@media (max-width: 820px) { body { display: block; } nav { display: none; } .part { grid-template-columns: 1fr;
  gap: 0; }
  .part > b { text-align: left; } .steps .gallery, .steps details { margin-left: 0; } .bar .title { display: none; }
  .bar .chips { margin-left: 0; } }
@media print { .bar, nav { display: none; } body { display: block; } .js article:not(.current) { display: block; } }
""".replace("DARK", _DARK)

SCRIPT = """
'use strict';
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const root = document.documentElement, articles = all('article'), links = all('nav a'), chips = all('[data-filter]');
const family = document.querySelector('.bar select'), dialog = document.querySelector('dialog');
const pixels = JSON.parse(document.getElementById('pixels').textContent);
let outcome = '', current = 0;
root.classList.add('js');

const fits = article => (!outcome || article.dataset.outcome === outcome)
  && (!family || !family.value || article.dataset.family === family.value);
const shown = () => articles.map((a, i) => i).filter(i => fits(articles[i]));

function draw() {
  const list = shown(), at = list.indexOf(current);
  articles.forEach((a, i) => a.classList.toggle('current', at >= 0 && i === current));
  links.forEach((a, i) => { a.hidden = !fits(a); a.classList.toggle('current', i === current); });
  if (at >= 0) {
    all('img[data-file]', articles[current]).forEach(i => { if (!i.src) i.src = pixels[i.dataset.file]; });
    links[current].scrollIntoView({block: 'nearest'});
  }
  document.querySelector('.nothing').hidden = list.length > 0;
  document.querySelector('.place').textContent = list.length ? (at + 1) + ' of ' + list.length : '0 of 0';
  document.querySelector('[data-go="-1"]').disabled = at <= 0;
  document.querySelector('[data-go="1"]').disabled = at < 0 || at >= list.length - 1;
}
function show(index) {
  current = index;
  history.replaceState(null, '', '#' + (index + 1));
  draw();
  scrollTo(0, 0);
}
function go(by) {
  const list = shown(), to = list[list.indexOf(current) + by];
  if (to !== undefined) show(to);
}
function refilter() {
  const list = shown();
  chips.forEach(c => c.setAttribute('aria-pressed', c.dataset.filter === outcome));
  if (list.length && !list.includes(current)) show(list[0]); else draw();
}
function fromHash() {
  const index = parseInt(location.hash.slice(1), 10) - 1;
  if (index >= 0 && index < articles.length) {
    if (!fits(articles[index])) { outcome = ''; if (family) family.value = ''; refilter(); }
    show(index);
  } else draw();
}
function flipTheme() {
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
}
chips.forEach(c => c.addEventListener('click', () => { outcome = c.dataset.filter; refilter(); }));
if (family) family.addEventListener('change', refilter);
all('[data-go]').forEach(b => b.addEventListener('click', () => go(Number(b.dataset.go))));
document.querySelector('[data-theme-switch]').addEventListener('click', flipTheme);
addEventListener('hashchange', fromHash);
addEventListener('click', event => {
  const frame = event.target.closest('.frame');
  if (dialog.open) return dialog.close();
  if (!frame) return;
  dialog.replaceChildren(frame.cloneNode(true));
  const image = dialog.querySelector('img');
  image.removeAttribute('width');
  image.removeAttribute('height');
  const larger = Math.max(1, Math.min(6, 900 / image.naturalWidth));
  image.style.width = Math.min(innerWidth * .92, image.naturalWidth * larger) + 'px';
  dialog.showModal();
});
addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('select, input')) return;
  const list = shown(), at = list.indexOf(current), next = () => go(1), previous = () => go(-1);
  const act = {
    ArrowRight: next, n: next, j: next, ArrowLeft: previous, p: previous, k: previous, t: flipTheme,
    Home: () => go(-at), End: () => go(list.length - 1 - at),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});
fromHash();
"""
