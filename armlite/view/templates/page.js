'use strict';
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector, root = document) => root.querySelector(selector);
const root = document.documentElement, kind = document.body.dataset.kind, live = kind === 'live';
const form = one('.find'), nav = one('nav'), list = one('.rows'), pair = one('.pair'), dialog = one('dialog.large');
const HEIGHT = 56, FAR = 8;  // pixels of a row of the list; rows drawn beyond what is seen
const NONE = [];

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// ---- data: blocks in the page itself, or our server's answers
let index = null, generation = '';
const kept = new Map();  // name of a block -> promise of it; the oldest go
function remembered(name, get, most) {
  if (!kept.has(name)) {
    kept.set(name, get());
    kept.get(name).catch(() => kept.delete(name));
    const alike = [...kept.keys()].filter(key => key.split('-')[0] === name.split('-')[0]);
    if (alike.length > most) kept.delete(alike[0]);
  }
  return kept.get(name);
}
async function block(name) {
  const bytes = Uint8Array.from(atob(document.getElementById(name).textContent), c => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).json();
}
async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}
const getIndex = () => live ? ask('index.json').then(a => a.json()) : block('index');
function getArticle(n) {
  if (live) return remembered('rows-' + generation + n, () => ask('article/' + n).then(a => a.text()), 40);
  return remembered('rows-' + Math.floor(n / index.rows), () => block('rows-' + Math.floor(n / index.rows)), 6)
    .then(articles => articles[n % index.rows]);
}
async function getHolders(text) {  // numbers of the rows whose texts hold this one
  if (live) return new Set(await ask('search?text=' + encodeURIComponent(text)).then(a => a.json()));
  const found = new Set();
  for (let start = 0; start < index.count; start += index.texts) {
    const texts = await remembered('texts-' + start / index.texts, () => block('texts-' + start / index.texts), 1e9);
    texts.forEach((t, i) => { if (t.includes(text)) found.add(start + i); });
  }
  return found;
}
async function fill(image, n) {
  const file = image.dataset.file;
  if (kind === 'folder') image.src = 'images/' + encodeURIComponent(file);
  else if (live) image.src = 'image/' + n + '/' + encodeURIComponent(file);
  else {
    const name = 'images-' + index.images[file];
    const uris = await remembered(name, async () => JSON.parse(document.getElementById(name).textContent), 6);
    image.src = uris[file];
  }
}

// ---- fields, conditions, order: as armlite/view/where.py and selection.py have them
const values = (n, name) => {
  const field = index.fields[name], at = field ? field.at[n] : -1;
  return at < 0 ? NONE : field.values[at];
};
const first = (n, name, otherwise = '') => values(n, name)[0] ?? otherwise;
const NUMBERS = new Set(['step', 'rollout', 'calls', 'failed_calls', 'turns', 'tokens', 'probability', 'reward',
  'advantage', 'seconds']);
const isNumber = name => NUMBERS.has(name) || name.startsWith('reward.');
const COMPARED = {'<': (a, b) => a < b, '<=': (a, b) => a <= b, '>': (a, b) => a > b, '>=': (a, b) => a >= b};
const number = text => /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i.test(text) ? Number(text) : NaN;
function parse(query) {
  const parts = [[]];
  if (!query.trim()) return [];
  for (let at = 0; ;) {
    const condition = /\s*([\w.-]+)\s*(!=|<=|>=|=|<|>|~)\s*("[^"]*"|'[^']*'|[^\s"']+)/y;
    condition.lastIndex = at;
    const match = condition.exec(query);
    if (!match) throw new Error('cannot read ' + (query.slice(at).trim() || 'its end') + ': write FIELD=VALUE');
    parts[parts.length - 1].push(understood(match[1].toLowerCase(), match[2], match[3]));
    at = condition.lastIndex;
    if (!query.slice(at).trim()) return parts;
    const join = /\s+(and|or)\b/iy;
    join.lastIndex = at;
    const joined = join.exec(query);
    if (!joined) throw new Error('between conditions stands and or or, not ' + query.slice(at).trim());
    if (joined[1].toLowerCase() === 'or') parts.push([]);
    at = join.lastIndex;
  }
}
function understood(name, sign, value) {
  if (!(name in index.fields) && !index.known.includes(name)) throw new Error('there is no field ' + name);
  const quoted = '"\''.includes(value[0]);
  if (quoted) value = value.slice(1, -1);
  const choices = (quoted ? [value] : value.split(',')).map(c => c.toLowerCase());
  if (sign in COMPARED) {
    if (!isNumber(name)) throw new Error(name + ' is no number: use = != or ~');
    if (Number.isNaN(number(value))) throw new Error(name + sign + value + ' needs a number');
  }
  const same = (v, c) => typeof v === 'string' ? v.toLowerCase() === c : v === number(c);
  return n => {
    const has = values(n, name);
    if (sign === '=' || sign === '!=') return (sign === '=') === has.some(v => choices.some(c => same(v, c)));
    if (sign === '~') return has.some(v => String(v).toLowerCase().includes(value.toLowerCase()));
    return has.some(v => typeof v !== 'string' && COMPARED[sign](v, number(value)));
  };
}
function inOrder(rows, sort) {
  const name = sort.replace(/^-/, ''), down = sort.startsWith('-') ? -1 : 1;
  if (name === 'arrival') return [...rows].reverse();  // of a run that is being written
  if (!name) return rows;
  const key = n => values(n, name).reduce((a, b) => b < a ? b : a);
  const has = rows.filter(n => values(n, name).length), rest = rows.filter(n => !values(n, name).length);
  const keys = new Map(has.map(n => [n, key(n)]));
  return has.sort((a, b) => down * (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : 0)).concat(rest);
}

// ---- what is chosen
let outcome = '', current = -1, pinned = -1, shown = [], place = new Map();
const choice = name => one(`[data-field="${name}"]`, form);
const SELECTS = ['stage', 'round', 'step', 'family'];
async function refilter(keep = true) {
  const complaint = one('.wrong-words');
  let parts;
  try { parts = parse(form.where.value); complaint.value = ''; } catch (error) { complaint.value = error.message; return; }
  const text = form.search.value.toLowerCase(), holders = text ? await getHolders(text) : null;
  if (text !== form.search.value.toLowerCase()) return;  // typed on meanwhile
  const chosen = SELECTS.map(name => [name, choice(name).value]).filter(([, value]) => value);
  const fits = n => chosen.every(([name, value]) => values(n, name).some(v => String(v) === value))
    && (!parts.length || parts.some(part => part.every(test => test(n)))) && (!holders || holders.has(n));
  const rows = [], counts = {};
  for (let n = 0; n < index.count; n++) {
    if (!fits(n)) continue;
    const had = first(n, 'outcome');
    counts[had] = (counts[had] || 0) + 1;
    if (!outcome || had === outcome) rows.push(n);
  }
  shown = inOrder(rows, form.sort.value);
  place = new Map(shown.map((n, i) => [n, i]));
  drawChips(counts);
  list.style.height = shown.length * HEIGHT + 'px';
  drawn = '';
  if (keep && place.has(current)) { mark(); drawList(); } else if (shown.length) await show(shown[0]); else await show(-1);
}
function drawChips(counts) {
  const sum = Object.values(counts).reduce((a, b) => a + b, 0), chips = one('.chips'), focused = chips.contains(document.activeElement);
  const chip = (name, label, count) => {
    const made = make('button', {'data-outcome': name, 'aria-pressed': String(name === outcome)}, label + ' ', make('b', {}, count.toLocaleString('en')));
    made.addEventListener('click', () => { outcome = name; refilter(); });
    return made;
  };
  const names = Object.keys(index.marks).filter(name => counts[name] || name === outcome);
  chips.replaceChildren(chip('', 'all', sum), ...names.map(name => chip(name, index.marks[name] + ' ' + name, counts[name] || 0)));
  if (focused) one('[aria-pressed=true]', chips).focus();
}

// ---- the list: only what is seen is drawn
let drawn = '';
function drawList() {
  const from = Math.max(0, Math.floor(nav.scrollTop / HEIGHT) - FAR);
  const to = Math.min(shown.length, Math.ceil((nav.scrollTop + nav.clientHeight) / HEIGHT) + FAR);
  if (drawn === from + ' ' + to + ' ' + current) return;
  drawn = from + ' ' + to + ' ' + current;
  const rows = [];
  for (let at = from; at < to; at++) {
    const n = shown[at], had = first(n, 'outcome'), rollout = first(n, 'rollout', 0);
    const link = make('a', {href: '#' + (n + 1)}, make('i', {class: had, 'aria-hidden': 'true'}, index.marks[had]),
      make('span', {}, make('span', {class: 'name'}, String(first(n, 'id')) + (rollout ? ' #' + rollout : '')), make('small', {}, where(n) || first(n, 'question'))));
    link.title = first(n, 'question');
    if (n === current) { link.className = 'current'; link.setAttribute('aria-current', 'true'); }
    rows.push(make('li', {style: `top:${at * HEIGHT}px`, 'aria-setsize': shown.length, 'aria-posinset': at + 1}, link));
  }
  list.replaceChildren(...rows);
}
function where(n) {  // what the lists above do not say already
  if (!values(n, 'stage').length || (choice('stage').value && choice('round').value)) return '';
  const step = values(n, 'step');
  return first(n, 'stage') + ' · ' + index.rounds[first(n, 'round')] + (step.length ? ' ' + step[0] : '') + ' · ' + first(n, 'family');
}
function mark() {
  const at = place.has(current) ? place.get(current) : -1;
  one('.place').textContent = shown.length ? (at + 1).toLocaleString('en') + ' of ' + shown.length.toLocaleString('en') : '0 of 0';
  one('[data-go="-1"]').disabled = at <= 0;
  one('[data-go="1"]').disabled = at < 0 || at >= shown.length - 1;
  one('.nothing').hidden = shown.length > 0;
  if (at >= 0) {
    const top = at * HEIGHT;
    if (top < nav.scrollTop || top + HEIGHT > nav.scrollTop + nav.clientHeight) nav.scrollTop = Math.max(0, top - nav.clientHeight / 2);
  }
}

// ---- the judgment
async function show(n, top = true) {
  current = n;
  mark();
  drawList();
  if (n < 0) { pair.replaceChildren(); one('.group').replaceChildren(); return; }
  history.replaceState(null, '', '#' + (n + 1));
  const wanted = [n], other = beside(n);
  if (other >= 0 && other !== n) wanted.unshift(other);
  const articles = await Promise.all(wanted.map(getArticle));
  if (current !== n) return;
  pair.classList.toggle('two', wanted.length > 1);
  const frame = make('template');
  pair.replaceChildren(...articles.map((html, i) => {
    frame.innerHTML = html;  // our template's, in which every text is escaped
    const article = frame.content.querySelector('article');
    article.dataset.number = wanted[i];
    return article;
  }));
  await Promise.all(all('article', pair).map(a => all('img[data-file]', a).map(i => fill(i, a.dataset.number))).flat());
  drawGroup(n);
  if (top) one('main').scrollTo(0, 0);
}
function beside(n) {
  if (pinned >= 0) return pinned;
  const stage = form.beside.value;
  if (!stage) return -1;
  const alike = wanted => {
    const found = [];
    for (let i = 0; i < index.count; i++) {
      if (values(i, 'stage')[0] === wanted && first(i, 'id') === first(n, 'id') && first(i, 'round') === first(n, 'round')) found.push(i);
    }
    return found;
  };
  const mine = alike(first(n, 'stage')).indexOf(n), others = alike(stage);
  return others.length ? others[Math.min(mine, others.length - 1)] : -1;
}
function drawGroup(n) {
  const found = [];
  for (let i = 0; i < index.count; i++) {
    if (first(i, 'id') === first(n, 'id') && first(i, 'file') === first(n, 'file')) found.push(i);
  }
  const section = one('.group');
  if (found.length < 2) { section.replaceChildren(); return; }
  const step = values(n, 'step').length, said = new Map();
  found.forEach(i => said.set(first(i, 'said'), (said.get(first(i, 'said')) || 0) + 1));
  const most = [...said].sort((a, b) => b[1] - a[1]).map(([words, count]) => count + ' × ' + words).join(', ');
  const names = Object.keys(index.fields).filter(name => (name.startsWith('reward') || name === 'advantage' || name === 'probability')
    && found.some(i => values(i, name).length));
  names.sort((a, b) => (a === 'advantage') - (b === 'advantage') || (a === 'reward') - (b === 'reward'));
  const head = ['', 'decision', 'calls', ...names.map(name => name === 'reward' ? 'total' : name.replace('reward.', ''))];
  const rows = found.map(i => {
    const link = make('a', {href: '#' + (i + 1)}, '#' + first(i, 'rollout', 0));
    const cells = [first(i, 'calls'), ...names.map(name => values(i, name).length ? shortly(first(i, name)) : '–')];
    const made = make('tr', {}, make('th', {scope: 'row'}, make('i', {class: first(i, 'outcome')}, index.marks[first(i, 'outcome')]), link),
      make('td', {}, first(i, 'said')), ...cells.map(c => make('td', {}, String(c))));
    if (i === n) made.className = 'current';
    return made;
  });
  section.replaceChildren(make('h2', {}, step ? found.length + ' rollouts of this task in the step: ' + most : found.length + ' judgments of this task: ' + most),
    make('div', {class: 'wide', tabindex: '0', role: 'group', 'aria-label': 'Table'}, make('table', {},
      make('thead', {}, make('tr', {}, ...head.map(h => h ? make('th', {scope: 'col'}, h) : make('td')))), make('tbody', {}, ...rows))));
}
const shortly = value => typeof value === 'number' ? String(Number(value.toFixed(3))) : value;

// ---- keys and clicks
function go(by) {
  const at = place.get(current), to = shown[at + by];
  if (to !== undefined) show(to);
}
function goWrong(by) {
  for (let at = (place.get(current) ?? -1) + by; at >= 0 && at < shown.length; at += by) {
    if (first(shown[at], 'outcome') === 'wrong') return show(shown[at]);
  }
}
function flipTheme() {
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
}
function pin() { pinned = pinned >= 0 ? -1 : current; if (pinned < 0) show(current); }
function help() {
  one('.fields').textContent = 'Fields: ' + index.known.join(', ') + '.';
  one('dialog.keys').showModal();
}
function fromHash() {
  const n = parseInt(location.hash.slice(1), 10) - 1;
  if (!(n >= 0 && n < index.count)) return false;
  if (!place.has(n)) { outcome = ''; for (const field of [...SELECTS.map(choice), form.where, form.search]) field.value = ''; }
  current = n;
  refilter().then(() => show(n));
  return true;
}
function enlarge(frame) {
  dialog.replaceChildren(frame.cloneNode(true));
  const image = one('img', dialog);
  image.removeAttribute('width');
  image.removeAttribute('height');
  image.style.width = Math.min(innerWidth * .92, image.naturalWidth * Math.max(1, Math.min(6, 900 / image.naturalWidth))) + 'px';
  dialog.showModal();
}
addEventListener('click', event => {
  const frame = event.target.closest('.frame');
  if (dialog.open) dialog.close(); else if (frame) enlarge(frame);
});
one('[data-close]').addEventListener('click', () => one('dialog.keys').close());
one('[data-keys]').addEventListener('click', help);
one('.filters').addEventListener('click', event => {
  event.target.setAttribute('aria-expanded', String(form.classList.toggle('open')));
});
one('[data-next-wrong]').addEventListener('click', () => goWrong(1));
one('[data-theme-switch]').addEventListener('click', flipTheme);
all('[data-go]').forEach(b => b.addEventListener('click', () => go(Number(b.dataset.go))));
nav.addEventListener('scroll', drawList);
addEventListener('resize', () => { drawn = ''; drawList(); });
addEventListener('hashchange', fromHash);
form.addEventListener('submit', event => event.preventDefault());
form.addEventListener('change', event => event.target === form.beside ? show(current, false) : refilter());
let waiting = 0;
form.addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(refilter, 120); });
addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || one('dialog[open]')) return;
  if (event.target.closest('select, input')) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const at = place.get(current) ?? 0, next = () => go(1), previous = () => go(-1);
  const act = {
    ArrowRight: next, n: next, j: next, ArrowLeft: previous, p: previous, k: previous, t: flipTheme, c: pin, '?': help,
    w: () => goWrong(1), W: () => goWrong(-1), '/': () => form.search.focus(), f: () => form.where.focus(),
    Home: () => go(-at), End: () => go(shown.length - 1 - at),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});

// ---- the beginning
function options(select, rows, otherwise) {
  const value = select.value;
  select.replaceChildren(make('option', {value: ''}, otherwise), ...rows.map(([v, label]) => make('option', {value: v}, label)));
  select.value = rows.some(([v]) => v === value) ? value : '';
  select.hidden = !rows.length;
}
function fillForm() {
  const known = name => index.fields[name] ? index.fields[name].values.map(v => v[0]) : [];
  const by = order => (a, b) => order.indexOf(a) - order.indexOf(b);
  const plain = rows => rows.map(v => [String(v), String(v)]);
  const stages = known('stage').sort(by(index.stages)), more = rows => rows.length > 1 ? rows : [];
  options(choice('stage'), more(plain(stages)), 'every stage');
  options(choice('round'), more(known('round').sort(by(Object.keys(index.rounds))).map(v => [v, index.rounds[v]])), 'every round');
  options(choice('step'), more(known('step').sort((a, b) => a - b).map(v => [String(v), 'GRPO step ' + v])), 'every step');
  options(choice('family'), more(plain(known('family').sort())), 'every family');
  options(form.beside, more(plain(stages)).map(([v, label]) => [v, 'beside: after ' + label]), 'nothing beside');
  index.known = Object.keys(index.fields).filter(name => !['question', 'said'].includes(name)).sort();
  const sorts = index.known.filter(name => isNumber(name) || ['id', 'outcome'].includes(name)).filter(name => index.fields[name].values.length > 1);
  options(form.sort, (live ? [['arrival', 'newest first']] : []).concat(sorts.flatMap(name => [[name, name + ' ↑'], ['-' + name, name + ' ↓']])), 'in file order');
}
function begin() {
  fillForm();
  const simple = /^stage=(\S+) and round=(\S+)$/.exec(index.where);
  if (simple && choice('stage').value !== undefined) {  // the opening, said by the lists
    choice('stage').value = simple[1];
    choice('round').value = simple[2];
    if ((choice('stage').value || simple[1]) !== simple[1] || choice('round').value !== simple[2]) form.where.value = index.where;
  } else form.where.value = index.where;
  form.search.value = index.search;
  form.beside.value = index.beside;
  if (live) form.sort.value = 'arrival';
}
async function follow() {
  try {
    const found = await ask('index.json?after=' + index.count + '&generation=' + encodeURIComponent(generation));
    if (found.status === 200) {
      const had = index.count;
      index = {...index, ...await found.json()};
      generation = index.generation;
      fillForm();
      one('.live').textContent = '● live, ' + index.count.toLocaleString('en') + ' so far' + (index.count > had ? ' (+' + (index.count - had) + ')' : '');
      await refilter();
    }
  } catch (error) { one('.live').textContent = '○ the server does not answer'; }
  setTimeout(follow, 2000);
}
getIndex().then(async found => {
  index = found;
  generation = index.generation || '';
  begin();
  await refilter(false);
  if (location.hash.length > 1) fromHash();
  root.dataset.ready = Math.round(performance.now());  // milliseconds since it was opened
  if (live) { one('.live').textContent = '● live'; setTimeout(follow, 2000); }
});
