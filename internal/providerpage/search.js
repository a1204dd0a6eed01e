
'use strict';
const byId = id => document.getElementById(id);
const query = byId('query'), category = byId('category'), kind = byId('kind');
const rows = [...byId('rows').rows].map(row => ({ row, text: [...row.cells].map(cell => cell.textContent).concat(row.dataset.headers).join(' ').toLowerCase() }));

function filter() {
	const words = query.value.toLowerCase().split(/\s+/);
	let shown = 0;
	for (const { row, text } of rows) {
		row.hidden = !words.every(word => text.includes(word)) ||
			(category.value !== '' && row.dataset.category !== category.value) ||
			(kind.value !== '' && row.dataset.kind !== kind.value);
		shown += !row.hidden;
	}
	byId('count').textContent = shown === rows.length ? `${shown} senders` : `${shown} of ${rows.length} senders`;
	byId('none').hidden = shown > 0;
}

// The arrows move between the search and the links of the rows.
function move(by) {
	const stops = [query, ...rows.filter(({ row }) => !row.hidden).map(({ row }) => row.querySelector('a'))];
	const at = stops.indexOf(document.activeElement);
	if (at >= 0) stops[Math.min(Math.max(at + by, 0), stops.length - 1)].focus();
	return at >= 0;
}

addEventListener('keydown', event => {
	if (event.ctrlKey || event.metaKey || event.altKey) return;
	const typing = event.target === query;
	if (event.key === '/' && !typing) query.focus();
	else if (event.key === 'ArrowDown' && move(1)) ;
	else if (event.key === 'ArrowUp' && move(-1)) ;
	else if (event.key === 'Escape' && query.value !== '') { query.value = ''; filter(); query.focus(); }
	else return;
	event.preventDefault();
});
for (const input of [query, category, kind]) input.addEventListener('input', filter);
byId('tools').hidden = false;
filter(); // the browser may restore what was typed
query.focus();
