const views = { overview: 'Overview', deliveries: 'Deliveries', refusals: 'Refusals', inbox: 'Inbox' };
const limit = 1000; // deliveries in memory
const state = {
	view: 'overview', gateways: [], failures: [], status: [], inbox: [], stored: [], refusals: [], details: new Map(),
	deliveries: [], seen: new Set(), missed: false, filter: { name: '', outcome: '', event: '', id: '' }, inboxState: 'waiting',
};

const colours = { delivered: 'good', failed: 'bad', duplicate: 'copy', stored: 'stored', rejected: 'refused', observed: 'refused' };
const outcomeOf = (d) => el('span', { class: colours[d.outcome] || '' }, d.outcome + (d.reason ? ': ' + d.reason : ''));
const ofTenant = (d) => d.tenant ? d.name + '/' + d.tenant : d.name;
const instance = (n) => state.gateways.length > 1 ? state.gateways[n] : '';

// askAll asks every gateway that answers; what fails is undefined.
const silent = (n) => n in state.status && !state.status[n];
const askAll = (path, failed) => Promise.all(state.gateways.map((_, n) => silent(n) ? undefined : ask('gateways/' + n + '/' + path).catch((e) => { failed(n, e); })));

function fault(n, text) {
	if (state.failures[n] === text) return;
	state.failures[n] = text;
	const problems = state.failures.map((f, i) => f && (state.gateways.length > 1 ? state.gateways[i] + ': ' : '') + f).filter(Boolean);
	byId('problem').hidden = !problems.length;
	byId('problem').textContent = problems.map(shown).join('\n');
}

// --- Overview

const shades = [['delivered', 'good'], ['stored', 'stored'], ['duplicate', 'copy'], ['rejected', 'refused'], ['failed', 'bad']];

// hourLine draws a bar for each minute.
function hourLine(hour) {
	const ns = 'http://www.w3.org/2000/svg';
	const totals = Array.from({ length: 60 }, (_, i) => shades.reduce((n, [o]) => n + (hour[o] ? hour[o][i] : 0), 0));
	const most = Math.max(...totals, 1);
	const svg = document.createElementNS(ns, 'svg');
	const texts = shades.filter(([o]) => hour[o]).map(([o]) => number(hour[o].reduce((a, b) => a + b, 0)) + ' ' + o);
	const label = 'Last hour: ' + (texts.join(', ') || 'nothing');
	const set = (e, values) => { for (const [k, v] of Object.entries(values)) e.setAttribute(k, v); return e; };
	set(svg, { viewBox: '0 0 120 24', class: 'hour', role: 'img', 'aria-label': label });
	const title = document.createElementNS(ns, 'title');
	title.textContent = label;
	svg.append(title, set(document.createElementNS(ns, 'rect'), { class: 'axis', y: 23.5, width: 120, height: 0.5 }));
	const base = new Array(60).fill(0);
	for (const [outcome, shade] of shades) {
		if (!hour[outcome]) continue;
		let d = '';
		hour[outcome].forEach((n, i) => {
			if (!n) return;
			const height = Math.max(n / most * 23, 1);
			d += 'M' + i * 2 + ' ' + (23.5 - base[i]).toFixed(2) + 'v-' + height.toFixed(2) + 'h1.6v' + height.toFixed(2) + 'z';
			base[i] += height;
		});
		svg.append(set(document.createElementNS(ns, 'path'), { class: shade, d }));
	}
	return svg;
}

// handlers sums those of one name over all gateways.
function handlers() {
	const all = new Map();
	state.status.forEach((status, n) => {
		for (const h of status ? status.handlers : []) {
			const t = all.get(h.name) || { name: h.name, provider: h.provider, observe: false, delivered: 0, failed: {}, duplicates: 0, rejected: {}, observed: {}, stored: 0, waiting: 0, dead: 0, last: null, keys: new Map(), problems: [], hour: {}, states: [] };
			all.set(h.name, t);
			t.observe = t.observe || h.observe;
			t.delivered += h.delivered;
			t.duplicates += h.duplicates;
			t.stored += sum(h.stored);
			for (const kind of ['failed', 'rejected', 'observed']) for (const [reason, count] of Object.entries(h[kind])) t[kind][reason] = (t[kind][reason] || 0) + count;
			if (h.last_delivered && (!t.last || h.last_delivered > t.last)) t.last = h.last_delivered;
			for (const k of h.keys) {
				const last = t.keys.get(k.label);
				t.keys.set(k.label, k.last_used && (!last || k.last_used > last) ? k.last_used : last || null);
			}
			for (const p of h.key_problems) t.problems.push([n, p]);
			for (const [outcome, counts] of Object.entries(h.hour || {})) t.hour[outcome] = counts.map((c, i) => c + (t.hour[outcome] ? t.hour[outcome][i] : 0));
			if (h.inbox) {
				// A stream of NATS is one for all instances; a file is this instance's.
				const shared = status.inbox && status.inbox.kind === 'nats' && t.states.length;
				if (!shared) {
					t.waiting += h.inbox.pending + h.inbox.in_attempt;
					t.dead += h.inbox.dead;
				}
				t.states.push([n, h.inbox]);
			}
		}
	});
	return [...all.values()].sort((a, b) => a.name < b.name ? -1 : 1);
}

function overview() {
	if (!state.status.length) return [table([], [], 'Asking the gateway…')];
	const rows = handlers().map((h) => ({
		key: 'h ' + h.name, open: () => open('h ' + h.name, () => handlerDetail(h.name)),
		cells: [
			[el('strong', null, h.name), h.provider && h.provider !== h.name ? [' ', el('span', { class: 'quiet' }, h.provider)] : '', h.observe ? [' ', el('span', { class: 'refused' }, 'observe')] : '', h.problems.length ? [' ', el('span', { class: 'bad' }, 'key problem')] : ''].flat(),
			hourLine(h.hour), count(h.delivered, 'good'), count(sum(h.failed), 'bad'), count(h.duplicates, 'copy'), count(sum(h.rejected) + sum(h.observed), 'refused'), count(h.waiting, 'stored'), count(h.dead, 'bad'), when(h.last), keysLine(h.keys),
		],
	}));
	const columns = [['Handler'], ['Last hour'], ['Delivered', 'number'], ['Failed', 'number'], ['Duplicate', 'number'], ['Refused', 'number'], ['Waiting', 'number'], ['Dead', 'number'], ['Last delivered'], ['Keys, last used']];
	return [table(columns, rows, 'No handler is configured.'), el('h2', null, 'Gateways'), gatewayTable()];
}
const count = (n, shade) => el('span', { class: n ? shade : 'quiet' }, number(n));

function keysLine(keys) {
	const newest = [...keys].sort((a, b) => (b[1] || '') > (a[1] || '') ? 1 : -1);
	const parts = newest.slice(0, 3).map(([label, last]) => el('div', null, label + ': ', when(last)));
	if (newest.length > 3) parts.push(el('div', { class: 'quiet' }, 'and ' + (newest.length - 3) + ' more'));
	return parts;
}

function gatewayTable() {
	const rows = state.gateways.map((address, n) => {
		const s = state.status[n];
		if (!s) return { cells: [address, silent(n) ? el('span', { class: 'bad' }, 'no answer') : el('span', { class: 'quiet' }, 'asked'), '', '', ''] };
		return { cells: [
			address, when(s.since), s.store.degraded ? el('span', { class: 'bad' }, s.store.kind + ', degraded: ' + (s.store.problem || '')) : s.store.kind + ', healthy',
			s.inbox ? (s.inbox.problem ? el('span', { class: 'bad' }, s.inbox.kind + ': ' + s.inbox.problem) : s.inbox.kind + ', healthy, ' + (s.inbox.bytes / 1048576).toFixed(1) + ' of ' + number(Math.round(s.inbox.limit / 1048576)) + ' MiB') : el('span', { class: 'quiet' }, 'none'),
			(s.buffered_bytes / 1048576).toFixed(1) + ' of ' + number(Math.round(s.max_buffered / 1048576)) + ' MiB',
		] };
	});
	return table([['Admin endpoint'], ['Counts since'], ['Dedupe store'], ['Inbox'], ['Bodies in memory']], rows, '');
}

function handlerDetail(name) {
	const h = handlers().find((one) => one.name === name);
	if (!h) return [el('p', null, 'This handler is no longer configured.')];
	const reasons = (kind, shade) => Object.entries(h[kind]).map(([reason, n]) => [el('span', { class: shade }, kind === 'observed' ? 'observed: ' + reason : reason), number(n)]);
	return [
		el('h2', null, h.name),
		facts([['Provider', h.provider], ['Mode', h.observe ? 'observe: forwards what is not genuine' : ''], ['Delivered', number(h.delivered)], ['Stored', h.stored ? number(h.stored) : ''], ['Duplicates', number(h.duplicates)], ['Last delivered', when(h.last)]]),
		h.problems.map(([n, p]) => el('p', { class: 'bad' }, (instance(n) ? instance(n) + ': ' : '') + p)),
		el('h2', null, 'Failed and refused, by reason'),
		table([['Reason'], ['Count', 'number']], [...reasons('failed', 'bad'), ...reasons('rejected', 'refused'), ...reasons('observed', 'refused')].map((cells) => ({ cells })), 'Nothing.'),
		el('h2', null, 'Keys'),
		table([['Key'], ['Last used']], [...h.keys].map(([label, last]) => ({ cells: [label, when(last)] })), 'No key of its own.'),
		el('div', { class: 'tools' }, el('button', { onclick: () => { state.filter = { name: h.name, outcome: '', event: '', id: '' }; close(); go('deliveries'); } }, 'Its deliveries')),
	].flat();
}

// --- Deliveries

function arrived(n, d) {
	const at = n + ' ' + d.cursor;
	if (state.seen.has(at)) return;
	state.seen.add(at);
	state.deliveries.push({ ...d, n, at });
	if (state.deliveries.length > 1) state.deliveries.sort((a, b) => a.time < b.time ? 1 : a.time > b.time ? -1 : 0);
	for (const old of state.deliveries.splice(limit)) state.seen.delete(old.at);
	later();
}
// deliveries has its list apart, so that a filter in use is not drawn again.
function deliveries() {
	const f = state.filter;
	const choice = (field, label, values) => el('select', { 'aria-label': label, onchange: (e) => { f[field] = e.target.value; redraw(); } },
		[['', label + ': all'], ...values.map((v) => [v, v])].map(([v, text]) => el('option', { value: v, selected: f[field] === v }, shown(text))));
	const text = (field, label) => el('input', { id: 'filter-' + field, type: 'search', placeholder: label, 'aria-label': label, value: f[field], oninput: (e) => { f[field] = e.target.value; redraw(); } });
	return [
		el('div', { class: 'tools' }, choice('name', 'Handler', names()), choice('outcome', 'Outcome', ['delivered', 'failed', 'stored', 'duplicate', 'handshake', 'rejected']), text('event', 'Event'), text('id', "Sender's id or delivery key")),
		el('div', { id: 'list' }, deliveryList()),
	];
}

const names = () => [...new Set([...handlers(), ...state.deliveries].map((one) => one.name))].sort();

function deliveryList() {
	const f = state.filter;
	const fits = (d) => (!f.name || d.name === f.name) && (!f.outcome || d.outcome === f.outcome) && d.event.includes(f.event) && (!f.id || d.id.includes(f.id) || d.delivery.includes(f.id));
	const list = state.deliveries.filter(fits).slice(0, 300);
	const several = state.gateways.length > 1;
	const columns = [['Time'], ['Handler'], ['Outcome'], ['App'], ['Took'], ['Attempt', 'number'], ['Event'], ["Sender's id", 'mono'], ...(several ? [['Instance']] : [])];
	const rows = list.map((d) => ({
		key: 'd ' + d.at, open: () => open('d ' + d.at, () => deliveryDetail(d)), fresh: Date.now() - new Date(d.time) < 2000,
		cells: [clock(d.time), ofTenant(d), outcomeOf(d), d.status || '', took(d.app_seconds), d.attempt, d.event, d.id, ...(several ? [instance(d.n)] : [])],
	}));
	return [
		state.missed ? el('p', { class: 'quiet' }, 'Some deliveries are missing here: more came than are kept.') : '',
		table(columns, rows, state.deliveries.length ? 'No delivery passes these filters.' : 'No genuine delivery yet. They appear here as they end.'),
	].filter(Boolean);
}

function deliveryDetail(d) {
	const copies = d.delivery ? state.deliveries.filter((other) => other.delivery === d.delivery && other.name === d.name) : [d];
	return [
		el('h2', null, 'Delivery ', el('span', { class: 'mono' }, d.id || d.delivery || 'without an id')),
		facts([
			['Handler', ofTenant(d)], ['Provider', d.provider], ['Outcome', outcomeOf(d)], ['Arrived', [clock(d.time), ' (', when(d.time), ')']], ['App answered', d.status ? d.status + ' in ' + took(d.app_seconds) : 'was not asked'],
			['Event', d.event], ["Sender's id", d.id && el('span', { class: 'mono' }, d.id)], ['Signed with key', d.key], ['Delivery key', d.delivery ? el('span', { class: 'mono' }, d.delivery) : 'none: nothing identifies its copies'], ['Instance', instance(d.n)],
		]),
		el('h2', null, 'All requests of this delivery'),
		table([['Attempt', 'number'], ['Time'], ['Outcome'], ['App'], ['Took'], ['Instance']], copies.map((c) => ({ cells: [c.attempt, clock(c.time), outcomeOf(c), c.status || '', took(c.app_seconds), state.gateways[c.n]] })), ''),
		el('div', { class: 'tools' }, state.inbox.some(Boolean) && d.delivery ? el('button', { onclick: () => openStored(d.n, d.delivery) }, 'In the inbox') : ''),
	];
}

// --- Refusals

async function loadRefusals() {
	const lists = await askAll('verify_webhook/rejections', (n, e) => fault(n, e.message));
	state.refusals = lists.flatMap((list, n) => (list || []).map((r) => ({ ...r, n, at: n + ' ' + r.id })));
	state.refusals.sort((a, b) => a.time < b.time ? 1 : -1);
	const known = new Set(state.refusals.map((r) => r.at));
	for (const id of state.details.keys()) if (!known.has(id)) state.details.delete(id);
	later();
	// A hint takes the gateway a moment: one after the other, newest first.
	for (const r of state.refusals) {
		if (state.view !== 'refusals') return;
		if (state.details.has(r.at)) continue;
		state.details.set(r.at, await ask('gateways/' + r.n + '/verify_webhook/rejections/' + r.id).catch(() => null));
		later();
	}
}
function refusals() {
	const groups = new Map();
	for (const r of state.refusals) {
		const detail = state.details.get(r.at);
		const hint = detail && detail.hint;
		const key = JSON.stringify([r.name, r.reason, hint || r.detail]);
		if (!groups.has(key)) groups.set(key, { key, reason: r.reason, name: r.name, text: hint || r.detail, list: [] });
		groups.get(key).list.push(r);
	}
	if (!groups.size) return [table([], [], 'No request was refused, or none is kept.')];
	return [el('div', { class: 'scroll' }, [...groups.values()].map((g) => el('details', { 'data-group': g.key, open: openGroups.has(g.key), ontoggle: (e) => { e.target.open ? openGroups.add(g.key) : openGroups.delete(g.key); } },
		el('summary', null, el('strong', null, number(g.list.length) + ' × '), g.name + ': ', el('span', { class: 'refused' }, g.reason), g.text ? ' ' : '', g.text),
		table([['Time'], ['From'], ['Request', 'mono'], ...(state.gateways.length > 1 ? [['Instance']] : [])], g.list.map((r) => ({
			key: 'r ' + r.at, open: () => open('r ' + r.at, () => refusalDetail(r)),
			cells: [clock(r.time), r.remote, r.method + ' ' + r.url, ...(state.gateways.length > 1 ? [instance(r.n)] : [])],
		})), ''))))];
}
const openGroups = new Set();

function refusalDetail(r) {
	const d = state.details.get(r.at);
	return [
		el('h2', null, 'Refused: ', el('span', { class: 'refused' }, r.reason)),
		d && d.hint ? el('p', { class: 'hint' }, d.hint) : '',
		facts([
			['Detail', r.detail], ['Handler', ofTenant(r)], ['Time', [clock(r.time), ' (', when(r.time), ')']], ['From', r.remote], ['Request', el('span', { class: 'mono' }, r.method + ' ' + r.host + r.url)], ['Keys tried', r.keys.join(', ')],
			['Clock', r.skew ? 'signed ' + r.skew + ' before it arrived' : ''], ['Forwarded', r.observed ? 'yes: observe' : ''], ['Body', d ? (d.body.read ? number(d.body.bytes) + ' bytes' + (d.body.content_type ? ', ' + d.body.content_type : '') : 'not read') : ''],
			['SHA-256', d && d.body.sha256 ? el('span', { class: 'mono' }, d.body.sha256) : ''], ['Note', d ? d.note : ''], ['Instance', instance(r.n)], ['Id', el('span', { class: 'mono' }, r.id)],
		]),
		el('h2', null, 'Headers'), headerTable(d && d.headers),
	].filter(Boolean);
}

// --- The frame

function go(view) {
	state.view = view;
	close();
	history.replaceState(null, '', '#' + view);
	for (const b of byId('views').children) b.toggleAttribute('aria-current', b.dataset.view === view);
	draw();
	load();
	byId('main').focus();
}
const parts = { overview, deliveries, refusals, inbox };
const draw = () => replace(byId('main'), parts[state.view]());

// redraw shows new data, leaving alone what the operator is about to use.
function redraw() {
	const names = byId('list') && byId('main').querySelector('select');
	if (state.view !== 'deliveries' || (names.length - 1 < handlers().length && !document.activeElement.closest('.tools'))) draw();
	else replace(byId('list'), deliveryList());
	if (opened.key && opened.key.startsWith('r ')) replace(byId('detail'), panel());
}

async function loadStatus() {
	await Promise.all(state.gateways.map(async (_, n) => { // one that is silent holds up none of the others
		state.status[n] = await ask('gateways/' + n + '/verify_webhook/status?hour=1').catch((e) => { fault(n, e.message); });
		if (state.status[n]) fault(n, '');
		later();
		const up = state.status.filter(Boolean).length;
		byId('gateways').textContent = state.gateways.length > 1 ? up + ' of ' + state.gateways.length + ' gateways answer' : shown(state.gateways[0]);
	}));
}
let loading = 0; // a browser has few connections, and a silent gateway keeps them
async function load() {
	if (document.hidden) return;
	loading++;
	await Promise.all([loadStatus(), state.view === 'refusals' ? loadRefusals() : null, state.view === 'inbox' ? loadInbox() : null]).finally(() => { loading--; });
}

function press(e) {
	const order = Object.keys(views);
	if (order[e.key - 1]) return go(order[e.key - 1]);
	if (e.key !== '/') return;
	e.preventDefault();
	if (state.view !== 'deliveries') go('deliveries');
	byId('filter-id').focus();
}

async function start() {
	try {
		state.gateways = await ask('gateways');
	} catch (e) {
		byId('problem').hidden = false;
		byId('problem').textContent = shown(e.message);
		return;
	}
	Object.entries(views).forEach(([view, title], i) => byId('views').append(el('button', { 'data-view': view, title: 'Key ' + (i + 1), onclick: () => go(view) }, title)));
	loadInbox();
	const stream = new EventSource('deliveries');
	stream.onmessage = (message) => {
		const news = JSON.parse(message.data);
		if (news.error) fault(news.gateway, news.error);
		else if (news.missed) state.missed = true;
		else if (news.delivery) arrived(news.gateway, news.delivery);
	};
	stream.onerror = () => { byId('gateways').textContent = 'caddy webhook page does not answer'; };
	const wanted = location.hash.slice(1);
	go(parts[wanted] ? wanted : 'overview');
	setInterval(() => { if (!loading) load(); }, 5000);
	document.addEventListener('visibilitychange', load);
}
start();
