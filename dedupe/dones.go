package dedupe

import (
	"container/heap"
	"hash/maphash"
	"slices"
)

// dones are the done deliveries of a shard of a [Memory]. They are stored in one slab
// without pointers, which the garbage collector skips (a million linked entries cost
// it 170 ms), and form a queue per share of a room, oldest first; the queues have a slab
// of their own, as there may be one for each delivery. Lookups do not reorder: replaying
// old deliveries must not keep them at the cost of new ones.
//
// Neither rooms nor shares have a fixed size. When space runs out, the largest share of
// the largest room gives way, so that no sender can displace the deliveries of a smaller
// one, and no tenant those of a smaller one of its handler.
type dones struct {
	size   int
	n      int     // how many there are
	heads  []int32 // by hash of the key: the first slot of a chain; 2^n of them, not fewer than slots
	seed   maphash.Seed
	slab   []slot
	free   int32 // the first unused slot of the slab; next links them
	rooms  []*room
	named  map[string]*room
	queues []queue
	unused int32 // the first unused one of queues; newest links them
	of     map[shareOf]int32
	byEnd  order // of queues: first the one whose oldest window ends first
	bySum  order // of rooms: first the largest
}

// A slot uses 40 bytes, plus 4 to 8 in heads: a map would use 24 to 48.
type slot struct {
	key        Key
	mark       doneMark
	prev, next int32 // in its queue
	queue      int32
	chain      int32 // the next slot with the same head
}

const none = -1

// A room holds the deliveries with one Mark.Room.
type room struct {
	name   string
	number int32
	sum    int
	bySum  order // of its queues: first the largest
	place  int32 // in dones.bySum
}

// A queue holds those of them with one Mark.Share. It uses about 100 bytes with its
// places in the map and in the orders.
type queue struct {
	share          Share
	room           int32
	oldest, newest int32
	sum            int32
	placeEnd       int32 // in dones.byEnd
	placeSum       int32 // in room.bySum
}

type shareOf struct {
	share Share
	room  int32
}

// An order is a heap of numbers of rooms or queues.
type order struct {
	list   []int32
	before func(a, b int32) bool
	place  func(i int32) *int32 // where i keeps its place in the list
}

func (o *order) Len() int           { return len(o.list) }
func (o *order) Less(i, j int) bool { return o.before(o.list[i], o.list[j]) }
func (o *order) Swap(i, j int) {
	o.list[i], o.list[j] = o.list[j], o.list[i]
	*o.place(o.list[i]), *o.place(o.list[j]) = int32(i), int32(j)
}

func (o *order) Push(i any) {
	*o.place(i.(int32)) = int32(len(o.list))
	o.list = append(o.list, i.(int32))
}

func (o *order) Pop() any {
	last := len(o.list) - 1
	i := o.list[last]
	o.list = o.list[:last]
	return i
}

func (o *order) fix(i int32) { heap.Fix(o, int(*o.place(i))) }

func newDones(size int) *dones {
	d := &dones{size: size, seed: maphash.MakeSeed(), free: none, unused: none, named: make(map[string]*room), of: make(map[shareOf]int32)}
	d.byEnd = order{
		before: func(a, b int32) bool { return d.end(a) < d.end(b) },
		place:  func(q int32) *int32 { return &d.queues[q].placeEnd },
	}
	d.bySum = order{
		before: func(a, b int32) bool { return d.rooms[a].sum > d.rooms[b].sum },
		place:  func(r int32) *int32 { return &d.rooms[r].place },
	}
	return d
}

// end is when the window of a queue's oldest delivery ends. If windows in a queue
// differ, it may hide shorter ones: that costs space, not correctness.
func (d *dones) end(q int32) int64 { return d.slab[d.queues[q].oldest].mark.until() }

// larger orders the queues of a room; of equal ones, the one with the oldest delivery
// gives way.
func (d *dones) larger(a, b int32) bool {
	if x, y := d.queues[a].sum, d.queues[b].sum; x != y {
		return x > y
	}
	return d.end(a) < d.end(b)
}

func (d *dones) get(key Key) (doneMark, bool) {
	i := d.find(key)
	if i == none {
		return 0, false
	}
	return d.slab[i].mark, true
}

// find returns the slot of a key, or none.
func (d *dones) find(key Key) int32 {
	if d.n == 0 {
		return none
	}
	i := *d.head(key)
	for i != none && d.slab[i].key != key {
		i = d.slab[i].chain
	}
	return i
}

// head is the start of a key's chain. The seed keeps senders, who choose what keys are
// made of, from making long chains.
func (d *dones) head(key Key) *int32 {
	return &d.heads[maphash.Bytes(d.seed, key[:])&uint64(len(d.heads)-1)]
}

// chain puts a slot into the chain of its key. The heads double as they are used up.
func (d *dones) chain(i int32) {
	if d.n++; d.n > len(d.heads) {
		old := d.heads
		d.heads = slices.Repeat([]int32{none}, max(8, 2*len(old)))
		for _, i := range old {
			for i != none {
				next := d.slab[i].chain
				d.push(i)
				i = next
			}
		}
	}
	d.push(i)
}

func (d *dones) push(i int32) {
	head := d.head(d.slab[i].key)
	d.slab[i].chain, *head = *head, i
}

// unchain is the inverse of chain.
func (d *dones) unchain(i int32) {
	d.n--
	at := d.head(d.slab[i].key)
	for *at != i {
		at = &d.slab[*at].chain
	}
	*at = d.slab[i].chain
}

// put adds key as the newest of a room's share, and reports whether a delivery had to be
// evicted before its window ended.
//
// It first removes at most two expired deliveries, so that expiry never holds the
// lock for long. Removing up to two for each one added keeps expired ones from piling
// up.
func (d *dones) put(key Key, m doneMark, name string, share Share, now int64) (evicted bool) {
	for range 2 {
		if len(d.byEnd.list) == 0 || d.end(d.byEnd.list[0]) > now {
			break
		}
		d.remove(d.queues[d.byEnd.list[0]].oldest)
	}
	if i := d.find(key); i != none {
		d.remove(i)
	} else if d.n >= d.size {
		victim, _ := d.victim(name, share)
		d.remove(victim)
		evicted = true
	}
	d.link(d.take(key, m), name, share, false)
	return evicted
}

// recall adds key as the oldest of a room's share, unless it is known or would be the
// next victim.
func (d *dones) recall(key Key, m doneMark, name string, share Share) (evicted bool) {
	if d.find(key) != none {
		return false
	}
	if d.n >= d.size {
		victim, own := d.victim(name, share)
		if own {
			return false
		}
		d.remove(victim)
		evicted = true
	}
	d.link(d.take(key, m), name, share, true)
	return evicted
}

// victim is the oldest of the largest share of the largest room. The newcomer's own room
// and own share go before others that are not larger; own reports whether it is of both.
func (d *dones) victim(name string, share Share) (oldest int32, own bool) {
	most := d.rooms[d.bySum.list[0]]
	newcomers := d.named[name]
	if newcomers == nil || newcomers.sum < most.sum {
		return d.queues[most.bySum.list[0]].oldest, false
	}
	largest := d.queues[newcomers.bySum.list[0]]
	if q, ok := d.of[shareOf{share, newcomers.number}]; ok && d.queues[q].sum >= largest.sum {
		return d.queues[q].oldest, true
	}
	return largest.oldest, false
}

// take fills an unused slot. The slab doubles as it grows, up to size.
func (d *dones) take(key Key, m doneMark) int32 {
	i := d.free
	if i != none {
		d.free = d.slab[i].next
	} else {
		if len(d.slab) == cap(d.slab) {
			grown := make([]slot, len(d.slab), max(min(2*cap(d.slab), d.size), 8))
			copy(grown, d.slab)
			d.slab = grown
		}
		i = int32(len(d.slab))
		d.slab = append(d.slab, slot{})
	}
	d.slab[i] = slot{key: key, mark: m, prev: none, next: none}
	d.chain(i)
	return i
}

// link adds a slot at either end of a share's queue.
func (d *dones) link(i int32, name string, share Share, front bool) {
	r := d.named[name]
	if r == nil {
		r = d.enter(name)
	}
	r.sum++
	d.bySum.fix(r.number)
	e := &d.slab[i]
	at, ok := d.of[shareOf{share, r.number}]
	if !ok {
		e.queue = d.open(r, share, i)
		return
	}
	q := &d.queues[at]
	e.queue = at
	if front {
		e.next, d.slab[q.oldest].prev = q.oldest, i
		q.oldest = i
	} else {
		e.prev, d.slab[q.newest].next = q.newest, i
		q.newest = i
	}
	q.sum++
	d.byEnd.fix(at)
	r.bySum.fix(at)
}

// enter adds an empty room.
func (d *dones) enter(name string) *room {
	n := slices.Index(d.rooms, nil)
	if n < 0 {
		n, d.rooms = len(d.rooms), append(d.rooms, nil)
	}
	r := &room{name: name, number: int32(n)}
	r.bySum = order{before: d.larger, place: func(q int32) *int32 { return &d.queues[q].placeSum }}
	d.rooms[n], d.named[name] = r, r
	heap.Push(&d.bySum, r.number)
	return r
}

// open adds the queue of a share, with its first slot.
func (d *dones) open(r *room, share Share, first int32) int32 {
	q := d.unused
	if q != none {
		d.unused = d.queues[q].newest
	} else {
		q = int32(len(d.queues))
		d.queues = append(d.queues, queue{})
	}
	d.queues[q] = queue{share: share, room: r.number, oldest: first, newest: first, sum: 1}
	d.of[shareOf{share, r.number}] = q
	heap.Push(&d.byEnd, q)
	heap.Push(&r.bySum, q)
	return q
}

func (d *dones) remove(i int32) {
	e := &d.slab[i]
	at := e.queue
	q := &d.queues[at]
	if e.prev != none {
		d.slab[e.prev].next = e.next
	} else {
		q.oldest = e.next
	}
	if e.next != none {
		d.slab[e.next].prev = e.prev
	} else {
		q.newest = e.prev
	}
	d.unchain(i)
	*e = slot{next: d.free}
	d.free = i
	r := d.rooms[q.room]
	r.sum--
	if q.sum--; q.sum == 0 {
		d.close(r, at)
	} else {
		d.byEnd.fix(at)
		r.bySum.fix(at)
	}
	if r.sum > 0 {
		d.bySum.fix(r.number)
		return
	}
	heap.Remove(&d.bySum, int(r.place))
	d.rooms[r.number] = nil
	delete(d.named, r.name)
}

// close removes an empty queue. heap.Remove does not compare it.
func (d *dones) close(r *room, q int32) {
	heap.Remove(&d.byEnd, int(d.queues[q].placeEnd))
	heap.Remove(&r.bySum, int(d.queues[q].placeSum))
	delete(d.of, shareOf{d.queues[q].share, r.number})
	d.queues[q] = queue{newest: d.unused}
	d.unused = q
}

// resized returns dones with space for size, and the number of evicted deliveries.
// For a smaller size it copies the rest: slab and heads never shrink.
func (d *dones) resized(size int) (_ *dones, evicted int) {
	for d.size = size; d.n > size; evicted++ {
		d.remove(d.queues[d.rooms[d.bySum.list[0]].bySum.list[0]].oldest)
	}
	if len(d.slab) <= size {
		return d, evicted
	}
	smaller := newDones(size)
	d.each(func(e slot, name string, share Share) { smaller.put(e.key, e.mark, name, share, -1) })
	return smaller, evicted
}

// each visits all deliveries, share by share of each room, oldest first.
func (d *dones) each(f func(e slot, name string, share Share)) {
	for _, r := range d.bySum.list {
		for _, q := range d.rooms[r].bySum.list {
			for i := d.queues[q].oldest; i != none; i = d.slab[i].next {
				f(d.slab[i], d.rooms[r].name, d.queues[q].share)
			}
		}
	}
}
