// The operator's view of the inboxes, and what it can do with what they hold.

async function loadInbox() {
	const states = { waiting: ['pending', 'in_attempt'], dead: ['dead'], delivered: ['delivered'], locked: ['locked'] }[state.inboxState];
	const query = '?limit=200&' + states.map((s) => 'state=' + s).join('&');
	const before = state.inboxState;
	const answers = await askAll('verify_webhook/inbox' + query, (n, e) => { if (e.status !== 404) fault(n, e.message); });
	if (before !== state.inboxState) return;
	state.inbox = answers;
	state.stored = answers.flatMap((a, n) => a ? (a.deliveries || []).map((d) => ({ ...d, n })) : []);
	later();
}

function inbox() {
	if (!state.inbox.some(Boolean)) return [table([], [], 'No gateway has an inbox. With inbox in the global options, what the app does not accept is stored and retried.')];
	const queues = state.inbox.flatMap((a, n) => a ? a.queues.map((q) => ({ ...q, n })) : []);
	const several = state.gateways.length > 1;
	const rows = queues.map((q) => ({ cells: [
		[el('strong', null, ofTenant(q)), q.configured ? '' : el('span', { class: 'bad' }, ' not configured')], count(q.pending, 'stored'), count(q.in_attempt, 'stored'), count(q.dead, 'bad'), count(q.delivered, 'good'), q.oldest ? when(q.oldest) : '',
		q.paused ? el('span', { class: 'refused' }, 'paused') : q.down_since ? el('span', { class: 'bad' }, 'down since ', clock(q.down_since)) : 'answers', ...(several ? [instance(q.n)] : []),
		el('span', { class: 'tools' },
			el('button', { onclick: () => pause(q) }, q.paused ? 'Resume' : 'Pause'),
			q.dead ? el('button', { onclick: () => many(q, 'replay') }, 'Replay dead') : '', q.dead ? el('button', { class: 'danger', onclick: () => many(q, 'discard') }, 'Discard dead') : ''),
	] }));
	const tabs = el('div', { class: 'tools' }, [['waiting', 'Waiting'], ['dead', 'Dead'], ['delivered', 'Delivered'], ['locked', 'Locked']].map(([s, label]) => el('button', { 'aria-pressed': String(state.inboxState === s), onclick: () => { state.inboxState = s; state.stored = []; redraw(); loadInbox(); } }, label)));
	const more = state.inbox.some((a) => a && a.more);
	return [
		table([['Handler'], ['Pending', 'number'], ['In attempt', 'number'], ['Dead', 'number'], ['Delivered', 'number'], ['Oldest'], ['App'], ...(several ? [['Instance']] : []), ['']], rows, 'The inbox is empty.'),
		el('h2', null, 'Deliveries'), tabs,
		table([['Received'], ['Handler'], ['State'], ['Attempts', 'number'], ['App'], ['Next'], ['Delivery key', 'mono'], ...(several ? [['Instance']] : [])], state.stored.map((d) => ({
			key: 'i ' + d.delivery, open: () => openStored(d.n, d.delivery),
			cells: [when(d.received), ofTenant(d), stateOf(d), d.attempts, lastOf(d), d.due ? when(d.due) : '', d.delivery, ...(several ? [instance(d.n)] : [])],
		})), 'None in this state.'),
		more ? el('p', { class: 'quiet' }, 'The oldest 200 of each instance.') : '',
	].filter(Boolean);
}
const stateOf = (d) => el('span', { class: { dead: 'bad', delivered: 'good', locked: 'bad' }[d.state] || 'stored' }, d.state + (d.waits && d.state === 'pending' ? ', waits for ' + d.waits : ''));
const lastOf = (d) => d.refused ? (d.status || '-') + ' of a route' : d.status || '';

async function openStored(n, key) {
	try {
		const d = await ask('gateways/' + n + '/verify_webhook/inbox/' + key);
		open('i ' + key, () => storedDetail(n, d));
	} catch (e) { say(e.message); }
}

function storedDetail(n, d) {
	const change = (what, question) => el('button', { class: what === 'discard' ? 'danger' : null, onclick: async () => {
		if (!await confirmed(question, what === 'discard' ? 'Discard' : 'Replay')) return;
		await run(n, { do: what, key: d.delivery }, what === 'discard' ? 'Discarded.' : 'It is due now.');
		close();
	} }, what === 'discard' ? 'Discard' : 'Replay');
	return [
		el('h2', null, 'Stored delivery ', el('span', { class: 'mono' }, d.id || d.delivery)),
		facts([
			['Handler', ofTenant(d)], ['State', stateOf(d)], ['Received', [clock(d.received), ' (', when(d.received), ')']], ['Attempts', d.attempts], [d.refused ? 'Refused by a route above the handler' : "App's last answer", d.status || (d.attempts ? 'none' : '')], ['Next', d.due ? when(d.due) : ''], ['Event', d.event],
			["Sender's id", d.id], ['Signed with key', d.key], ['Delivery key', el('span', { class: 'mono' }, d.delivery)], ['Request', el('span', { class: 'mono' }, d.method + ' ' + d.host + d.url)], ['From', d.remote], ['Body', d.body ? number(d.body.bytes) + ' bytes' + (d.body.content_type ? ', ' + d.body.content_type : '') : ''],
			['Note', d.note], ['Instance', instance(n)],
		]),
		el('div', { class: 'tools' }, change('replay', 'Send this delivery to the app now?'), change('discard', 'Remove this delivery for good? The app will never get it.')),
		el('h2', null, 'Headers'), headerTable(d.headers),
	];
}

async function pause(q) {
	const text = q.paused ? 'Send the stored deliveries of ' + q.name + ' to the app again?' : 'Store the deliveries of ' + q.name + ' without sending them to the app? Their senders are answered 2xx. Ends with Resume, or with the process.';
	if (await confirmed(text, q.paused ? 'Resume' : 'Pause')) await run(q.n, { do: q.paused ? 'resume' : 'pause', name: q.name }, q.paused ? 'Resumed.' : 'Paused.');
}
async function many(q, what) {
	const text = what === 'replay' ? 'Send ' + plural(q.dead, 'dead delivery') + ' of ' + q.name + ' to the app again?' : 'Remove ' + plural(q.dead, 'dead delivery') + ' of ' + q.name + ' for good? The app will never get them.';
	if (await confirmed(text, what === 'replay' ? 'Replay' : 'Discard')) await run(q.n, { do: what, name: q.name, state: 'dead' }, what === 'replay' ? 'replayed' : 'discarded');
}
// run changes an inbox, in steps until nothing is left.
async function run(n, change, done) {
	try {
		let total = 0;
		for (let after = 0, more = true; more;) {
			const answer = await ask('gateways/' + n + '/inbox', after ? { ...change, after } : change);
			total += answer.changed || 0;
			more = Boolean(answer.more) && answer.after > after;
			after = answer.after;
		}
		say(change.state ? plural(total, 'delivery') + ' ' + done : done);
	} catch (e) { say(e.message); }
	await Promise.all([loadInbox(), loadStatus()]);
}
