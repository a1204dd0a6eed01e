// What both pages share. Each page defines redraw, which shows new data, and press, which
// handles a key of its own.

const byId = (id) => document.getElementById(id);

// --- Text. What a sender wrote becomes text, and what cannot be seen becomes visible.

const unseen = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;
const shown = (text) => String(text).replace(unseen, (c) => '\\u{' + c.codePointAt(0).toString(16) + '}');

// el makes an element. A child that is not an element is text.
function el(tag, attributes, ...children) {
	const e = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes || {})) {
		if (name.startsWith('on')) e.addEventListener(name.slice(2), value);
		else if (value === true) e.setAttribute(name, '');
		else if (value !== false && value !== null && value !== undefined) e.setAttribute(name, value);
	}
	for (const child of children.flat()) {
		if (child === null || child === undefined || child === '') continue;
		e.append(child instanceof Node ? child : document.createTextNode(shown(child)));
	}
	return e;
}
const number = (n) => n.toLocaleString('en');
const plural = (n, what) => number(n) + ' ' + (n === 1 ? what : what.replace(/y$/, 'ie') + 's');
const sum = (counts) => Object.values(counts || {}).reduce((a, b) => a + b, 0);

function ago(time) {
	if (!time) return 'never';
	const s = Math.round((Date.now() - new Date(time)) / 1000);
	const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
	const unit = units.find(([size]) => Math.abs(s) >= size) || units[3];
	const n = Math.floor(Math.abs(s) / unit[0]) + ' ' + unit[1];
	return s < 0 ? 'in ' + n : s === 0 ? 'now' : n + ' ago';
}
const when = (time) => el('time', { datetime: time || '', title: time ? new Date(time).toLocaleString() : '' }, ago(time));
const clock = (time) => el('time', { datetime: time, title: new Date(time).toLocaleString() }, new Date(time).toLocaleTimeString('en-GB'));
const took = (seconds) => !seconds ? '' : seconds < 0.1 ? (seconds * 1000).toFixed(1) + ' ms' : seconds < 10 ? seconds.toFixed(2) + ' s' : seconds.toFixed(0) + ' s';

// --- Tables

// table makes a table of columns [heading, class]. rows are {cells, open, key}.
function table(columns, rows, nothing) {
	if (!rows.length) return el('div', { class: 'scroll' }, el('div', { class: 'empty' }, nothing));
	const head = el('tr', null, columns.map(([title, kind]) => el('th', { scope: 'col', class: kind }, title)));
	const body = rows.map((row) => {
		const tr = el('tr', row.open ? { tabindex: 0, 'data-key': row.key, 'aria-selected': opened.key === row.key, class: row.fresh ? 'fresh' : null } : {},
			row.cells.map((cell, i) => el('td', { class: columns[i][1], 'data-label': columns[i][0] }, cell)));
		if (row.open) {
			tr.addEventListener('click', row.open);
			tr.addEventListener('keydown', (e) => { if (e.key === 'Enter') row.open(); });
		}
		return tr;
	});
	return el('div', { class: 'scroll' }, el('table', null, el('thead', null, head), el('tbody', null, body)));
}

// facts makes a list of [name, value], without those that are empty.
const facts = (pairs) => el('dl', null, pairs.filter(([, v]) => v !== '' && v !== null && v !== undefined).map(([name, v]) => [el('dt', null, name), el('dd', null, v)]).flat());

// headerTable lists headers {name: [value]}.
const headerTable = (headers) => table([['Name', 'mono'], ['Value', 'mono']], Object.entries(headers || {}).sort().map(([name, values]) => values.map((v) => ({ cells: [name, v] }))).flat(), 'None.');

// --- Requests

async function ask(path, body) {
	const response = await fetch(path, body ? { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) } : {});
	const answer = await response.json().catch(() => ({ error: 'the answer is not JSON' }));
	if (!response.ok) throw Object.assign(new Error(answer.error || 'status ' + response.status), { status: response.status });
	return answer;
}

let silence;
function say(text) {
	byId('said').textContent = shown(text);
	clearTimeout(silence);
	silence = setTimeout(() => { byId('said').textContent = ''; }, 6000);
}

// --- Drawing

let due;
let held = false; // a pointer is down: what it is on stays where it is
function later() { // a flood is drawn four times a second
	if (due) return;
	due = setTimeout(() => { due = null; held ? later() : redraw(); }, 250);
}
document.addEventListener('pointerdown', () => { held = true; });
for (const end of ['pointerup', 'pointercancel']) document.addEventListener(end, () => { held = false; });

// replace keeps the focus, on a row by its key and otherwise by the order of what can
// have it.
function replace(parent, children) {
	const usable = () => [...parent.querySelectorAll('button, input, select, summary, tr[tabindex]')];
	const active = parent.contains(document.activeElement) ? document.activeElement : null;
	const key = active && active.dataset.key, at = active ? usable().indexOf(active) : -1;
	parent.replaceChildren(...children);
	const same = key ? usable().find((e) => e.dataset.key === key) : usable()[at];
	if (active && same) same.focus();
}

// --- The detail

const opened = { key: null, content: null, origin: null }; // origin had the focus before
function open(key, content) {
	if (byId('detail').hidden) opened.origin = document.activeElement;
	opened.key = key;
	opened.content = content;
	byId('detail').replaceChildren(...panel());
	byId('detail').hidden = false;
	byId('detail').focus();
	for (const tr of document.querySelectorAll('tr[data-key]')) tr.toggleAttribute('aria-selected', tr.dataset.key === key);
}
const panel = () => [el('button', { class: 'close', onclick: close, 'aria-label': 'Close' }, '×'), ...opened.content().flat().filter(Boolean)];
function close() {
	if (byId('detail').hidden) return;
	opened.key = null;
	byId('detail').hidden = true;
	byId('detail').replaceChildren();
	for (const tr of document.querySelectorAll('tr[aria-selected]')) tr.removeAttribute('aria-selected');
	if (opened.origin && opened.origin.isConnected) opened.origin.focus();
}

// confirmed asks one question after the other: a dialog that closes says so only later.
let answered = Promise.resolve();
function confirmed(question, yes) {
	answered = answered.then(() => new Promise((resolve) => {
		const dialog = byId('confirm');
		byId('question').textContent = shown(question);
		byId('yes').textContent = yes;
		dialog.returnValue = '';
		dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
		dialog.showModal();
	}));
	return answered;
}

// --- Keys

document.addEventListener('keydown', (e) => {
	if (e.ctrlKey || e.metaKey || e.altKey || byId('confirm').open) return;
	if (e.key === 'Escape') return close();
	if (/^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
	press(e);
	if (e.key === 'j' || e.key === 'k') {
		const rows = [...byId('main').querySelectorAll('tr[tabindex]')].filter((tr) => tr.offsetParent);
		const at = rows.indexOf(document.activeElement);
		const next = rows[Math.min(Math.max(at + (e.key === 'j' ? 1 : -1), 0), rows.length - 1)];
		if (next) next.focus();
	}
});
