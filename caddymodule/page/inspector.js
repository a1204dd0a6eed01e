// What the server of the inspector sends: the list as it grows, and one request when it is
// opened. Bytes that a sender wrote are in base64.

const limit = 200; // requests in the list, as the server keeps
const state = { about: {}, requests: [], last: 0, filter: { sender: '', outcome: '', text: '' }, details: new Map() };
const colours = { genuine: 'good', duplicate: 'copy', handshake: 'stored' };
const outcomeOf = (r) => el('span', { class: colours[r.outcome] || 'refused' }, r.outcome);
const statusOf = (r) => el('span', { class: r.status < 400 ? '' : 'bad' }, r.status || '');

// --- Bytes. What is not text, or cannot be seen, is marked; line breaks also break the line.

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const bytesOf = (base64) => Uint8Array.from(atob(base64 || ''), (c) => c.charCodeAt(0));

// characters splits bytes into characters of UTF-8. A byte of none is {byte}.
function characters(bytes) {
	try {
		return [...decoder.decode(bytes)];
	} catch { /* one by one */ }
	const all = [];
	for (let i = 0; i < bytes.length;) {
		const first = bytes[i], length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
		try {
			all.push(...decoder.decode(bytes.subarray(i, i + length)));
			i += length;
		} catch {
			all.push({ byte: first });
			i++;
		}
	}
	return all;
}
const named = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
function visible(characters) {
	const parts = [];
	let text = '';
	const flush = () => { if (text) parts.push(document.createTextNode(text)); text = ''; };
	for (const c of characters) {
		const plain = typeof c === 'string' ? named[c] || shown(c) : '\\x' + c.byte.toString(16).padStart(2, '0');
		if (plain === c) {
			text += c;
			continue;
		}
		flush();
		parts.push(el('span', { class: 'unseen' }, plain));
		if (c === '\n') text = '\n';
	}
	flush();
	return parts;
}
const left = (n) => n ? el('span', { class: 'quiet' }, ' … and ' + plural(n, 'more byte')) : '';
const excerpt = (e) => el('pre', null, visible(characters(bytesOf(e.text))), left(e.left));

// --- The signed content

// side is one of two contents, from where they differ on marked.
function side(title, c, of) {
	const rest = characters(bytesOf(of.text));
	return [el('h3', null, title), el('pre', { class: 'side' }, c.skipped ? el('span', { class: 'quiet' }, plural(c.skipped, 'byte') + ' … ') : '', visible(characters(bytesOf(c.before))), el('mark', null, rest.length ? visible(rest.slice(0, 1)) : 'the end'), visible(rest.slice(1)), left(of.left))];
}

function signedContent(c, genuine) {
	if (!c) return [];
	const title = el('h2', null, 'Signed content');
	if (c.different) {
		const first = (of) => { // one character in words
			const [c] = characters(bytesOf(of.text));
			return c === undefined ? 'nothing more' : c === ' ' ? 'a space' : visible([c])[0].textContent;
		};
		return [title, el('p', { class: 'hint' }, 'First difference: byte ' + number(c.at + 1) + ' (line ' + number(c.line) + ', character ' + number(c.column) + '). The sender signed ', el('strong', null, first(c.signed)), ', and ', el('strong', null, first(c.expected)), ' arrived.'),
			side('The sender signed', c, c.signed), side('What arrived', c, c.expected)].flat();
	}
	const explains = genuine ? '' : c.signed ? 'The sender signed exactly this, so the mistake is not in the content.' : 'It is not known what the sender signed. A sender of this scheme signs, for the request that arrived:';
	return [title, explains && el('p', null, explains), excerpt(c.expected)];
}

// --- One request

async function show(n) {
	if (!state.details.has(n)) {
		try {
			state.details.set(n, await ask('requests/' + n));
		} catch (e) { return say(e.message); }
	}
	open('q ' + n, () => detail(state.requests.find((r) => r.n === n), state.details.get(n)));
}

function detail(r, d) {
	if (!r) return [el('p', null, 'This request is no longer kept.')];
	const copies = r.delivery_id ? state.requests.filter((other) => other.delivery_id === r.delivery_id && other.sender === r.sender) : [];
	return [
		el('h2', null, 'Request ', el('span', { class: 'mono' }, r.method + ' ' + r.path)),
		el('p', { class: colours[r.outcome] || 'refused' }, r.meaning),
		r.hint ? el('p', { class: 'hint' }, r.hint) : '',
		el('div', { class: 'tools' },
			d.sends ? el('button', { onclick: () => act(r, 'send', (a) => { d.answer = a; return 'The app answered ' + a.status + '.'; }) }, 'Send to the app again') : '',
			r.saved ? '' : el('button', { onclick: () => act(r, 'save', (a) => { r.saved = a.saved; return 'Saved.'; }) }, 'Save')),
		d.answer ? [el('p', null, 'The app answered ', statusOf(d.answer), ' in ' + took(d.answer.seconds) + '.'), d.answer.body.text ? excerpt(d.answer.body) : ''] : [],
		facts([
			['Saved', r.saved ? el('span', { class: 'mono' }, r.saved) : r.not_saved || ''], ['Time', [clock(r.time), ' (', when(r.time), ')']], ['Sender', r.sender], ['Outcome', outcomeOf(r)], ['Answer', [statusOf(r), ' in ' + (took(r.seconds) || '0 ms')]], ['Event', r.event],
			['Delivery id', r.delivery_id && el('span', { class: 'mono' }, r.delivery_id)], ['Signed with key', r.key], ['Host', d.host],
		]),
		signedContent(d.contents, r.key),
		el('h2', null, 'Body, ' + plural(d.bytes, 'byte') + (d.cut ? ', of which the beginning is kept: ' + d.cut : '')),
		d.hidden ? el('p', { class: 'quiet' }, d.hidden) : d.bytes ? excerpt(d.body) : '',
		el('h2', null, 'Headers'), headerTable(d.headers),
		copies.length > 1 ? [el('h2', null, 'All requests of this delivery'), table([['Time'], ['Outcome'], ['Answer'], ['Took']], copies.map((c) => ({ cells: [clock(c.time), outcomeOf(c), statusOf(c), took(c.seconds)] })), '')] : [],
	].flat().filter(Boolean);
}

async function act(r, what, done) {
	try {
		say(done(await ask('requests/' + r.n, { do: what })));
	} catch (e) { say(e.message); }
	redraw();
}

// --- The list

const several = () => (state.about.senders || []).length > 1;

function list() {
	const f = state.filter;
	const fits = (r) => (!f.sender || r.sender === f.sender) && (!f.outcome || r.outcome === f.outcome) && (!f.text || [r.path, r.event, r.delivery_id].some((text) => (text || '').includes(f.text)));
	const columns = [['Time'], ['Verdict'], ...(several() ? [['Sender']] : []), ['Request', 'mono'], ['Event'], ['Bytes', 'number'], ['Answer'], ['Took']];
	const rows = state.requests.filter(fits).map((r) => ({
		key: 'q ' + r.n, open: () => show(r.n), fresh: Date.now() - new Date(r.time) < 2000,
		cells: [clock(r.time), outcomeOf(r), ...(several() ? [r.sender || ''] : []), r.method + ' ' + r.path, r.event || '', number(r.bytes), statusOf(r), took(r.seconds)],
	}));
	return [
		state.last > limit ? el('p', { class: 'quiet' }, 'The newest of ' + plural(state.last, 'request') + '.') : '',
		table(columns, rows, state.requests.length ? 'No request passes these filters.' : 'No request yet. They appear here as they arrive.'),
	].filter(Boolean);
}

function redraw() {
	replace(byId('list'), list());
	const outcomes = [...new Set(state.requests.map((r) => r.outcome))].sort();
	const choice = byId('outcome');
	for (const o of outcomes) if (![...choice.options].some((option) => option.value === o)) choice.append(el('option', { value: o }, o));
	if (opened.key) replace(byId('detail'), panel());
}

function arrived(r) {
	if (r.n <= state.last) return; // sent again after the connection broke
	state.last = r.n;
	state.requests.unshift(r);
	for (const old of state.requests.splice(limit)) state.details.delete(old.n);
	later();
}

function press(e) {
	if (e.key !== '/') return;
	e.preventDefault();
	byId('filter').focus();
}

async function start() {
	try {
		state.about = await ask('about');
	} catch (e) {
		byId('problem').hidden = false;
		byId('problem').textContent = shown(e.message);
		return;
	}
	const address = shown('listening on ' + state.about.address + (state.about.to ? ', app ' + state.about.to : ''));
	byId('gateways').textContent = address;
	const change = (field) => (e) => { state.filter[field] = e.target.value; redraw(); };
	const choice = (id, label, values) => el('select', { id, 'aria-label': label, onchange: change(id) }, el('option', { value: '' }, label + ': all'), values.map((v) => el('option', { value: v }, v)));
	byId('main').append(
		el('div', { class: 'tools' }, several() ? choice('sender', 'Sender', state.about.senders) : '', choice('outcome', 'Verdict', []), el('input', { id: 'filter', type: 'search', placeholder: 'Path, event or delivery id', 'aria-label': 'Path, event or delivery id', oninput: change('text') })),
		el('div', { id: 'list' }, list()));
	const stream = new EventSource('requests');
	stream.onmessage = (message) => { const news = JSON.parse(message.data); arrived({ ...news.row, n: news.n }); };
	stream.onopen = () => { byId('gateways').textContent = address; };
	stream.onerror = () => { byId('gateways').textContent = 'caddy webhook listen has ended'; };
}
start();
