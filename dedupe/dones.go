package dedupe

import "container/heap"

// dones are the done deliveries of a shard of a [Memory]. They are stored in one slab
// without pointers, which the garbage collector skips (a million linked entries cost
// it 170 ms), and form a queue per room, oldest first. Lookups do not reorder:
// replaying old deliveries must not keep them at the cost of new ones.
//
// Rooms have no fixed size. When space runs out, the largest room gives way, so that
// no sender can displace the deliveries of a smaller one.
type dones struct {
	size  int
	at    map[Key]int32
	slab  []slot
	free  int32 // the first unused slot of the slab; next links them
	rooms []*room
	named map[string]*room
	byEnd roomHeap // first the one whose oldest window ends first
	bySum roomHeap // first the largest
}

// A slot uses 40 bytes, plus 24 to 48 in the map.
type slot struct {
	key        Key
	mark       doneMark
	prev, next int32 // in the queue of its room
	room       int32
}

const none = -1

// A room is the queue of the deliveries with one Mark.Room.
type room struct {
	name           string
	number         int32
	oldest, newest int32
	sum            int
	place          [2]int // in byEnd and bySum
}

// A roomHeap orders rooms by less.
type roomHeap struct {
	list   []*room
	which  int // of room.place
	before func(a, b *room) bool
}

func (h *roomHeap) Len() int           { return len(h.list) }
func (h *roomHeap) Less(i, j int) bool { return h.before(h.list[i], h.list[j]) }
func (h *roomHeap) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].place[h.which], h.list[j].place[h.which] = i, j
}

func (h *roomHeap) Push(r any) {
	r.(*room).place[h.which] = len(h.list)
	h.list = append(h.list, r.(*room))
}

func (h *roomHeap) Pop() any {
	last := len(h.list) - 1
	r := h.list[last]
	h.list[last], h.list = nil, h.list[:last]
	return r
}

func newDones(size int) *dones {
	d := &dones{size: size, at: make(map[Key]int32), free: none, named: make(map[string]*room)}
	d.byEnd = roomHeap{which: 0, before: func(a, b *room) bool { return d.end(a) < d.end(b) }}
	d.bySum = roomHeap{which: 1, before: func(a, b *room) bool { return a.sum > b.sum }}
	return d
}

// end is when the window of a room's oldest delivery ends. If windows in a room
// differ, it may hide shorter ones: that costs space, not correctness.
func (d *dones) end(r *room) int64 { return d.slab[r.oldest].mark.until() }

func (d *dones) get(key Key) (doneMark, bool) {
	i, ok := d.at[key]
	if !ok {
		return 0, false
	}
	return d.slab[i].mark, true
}

// put adds key as the newest of a room, and reports whether a delivery had to be
// evicted before its window ended.
//
// It first removes at most two expired deliveries, so that expiry never holds the
// lock for long. Removing up to two for each one added keeps expired ones from piling
// up.
func (d *dones) put(key Key, m doneMark, name string, now int64) (evicted bool) {
	for range 2 {
		if len(d.byEnd.list) == 0 || d.end(d.byEnd.list[0]) > now {
			break
		}
		d.remove(d.byEnd.list[0].oldest)
	}
	if i, known := d.at[key]; known {
		d.remove(i)
	} else if len(d.at) >= d.size {
		d.remove(d.victim(name))
		evicted = true
	}
	d.link(d.take(key, m), name, false)
	return evicted
}

// recall adds key as the oldest of a room, unless it is known or would be the next
// victim.
func (d *dones) recall(key Key, m doneMark, name string) (evicted bool) {
	if _, known := d.at[key]; known {
		return false
	}
	if len(d.at) >= d.size {
		most := d.bySum.list[0]
		if own := d.named[name]; own != nil && own.sum >= most.sum {
			return false
		}
		d.remove(most.oldest)
		evicted = true
	}
	d.link(d.take(key, m), name, true)
	return evicted
}

// victim is the oldest of the largest room; the newcomer's own room if none is
// larger.
func (d *dones) victim(newcomer string) int32 {
	most := d.bySum.list[0]
	if own := d.named[newcomer]; own != nil && own.sum >= most.sum {
		return own.oldest
	}
	return most.oldest
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
	d.at[key] = i
	d.slab[i] = slot{key: key, mark: m, prev: none, next: none}
	return i
}

// link adds a slot at either end of a room's queue.
func (d *dones) link(i int32, name string, front bool) {
	r := d.named[name]
	if r == nil {
		r = &room{name: name, number: d.number(), oldest: i, newest: i, sum: 1}
		d.rooms[r.number], d.named[name] = r, r
		d.slab[i].room = r.number
		heap.Push(&d.byEnd, r)
		heap.Push(&d.bySum, r)
		return
	}
	e := &d.slab[i]
	e.room = r.number
	if front {
		e.next, d.slab[r.oldest].prev = r.oldest, i
		r.oldest = i
	} else {
		e.prev, d.slab[r.newest].next = r.newest, i
		r.newest = i
	}
	r.sum++
	heap.Fix(&d.byEnd, r.place[0])
	heap.Fix(&d.bySum, r.place[1])
}

// number returns an unused index for a room.
func (d *dones) number() int32 {
	for i, r := range d.rooms {
		if r == nil {
			return int32(i)
		}
	}
	d.rooms = append(d.rooms, nil)
	return int32(len(d.rooms) - 1)
}

func (d *dones) remove(i int32) {
	e := &d.slab[i]
	r := d.rooms[e.room]
	if e.prev != none {
		d.slab[e.prev].next = e.next
	} else {
		r.oldest = e.next
	}
	if e.next != none {
		d.slab[e.next].prev = e.prev
	} else {
		r.newest = e.prev
	}
	delete(d.at, e.key)
	*e = slot{next: d.free}
	d.free = i
	r.sum--
	if r.sum == 0 {
		d.leave(r)
		return
	}
	heap.Fix(&d.byEnd, r.place[0])
	heap.Fix(&d.bySum, r.place[1])
}

// leave removes an empty room. Its position in byEnd is found without comparing,
// since it has no oldest.
func (d *dones) leave(r *room) {
	for _, h := range []*roomHeap{&d.byEnd, &d.bySum} {
		i, last := r.place[h.which], len(h.list)-1
		h.Swap(i, last)
		h.Pop()
		if i < last {
			heap.Fix(h, i)
		}
	}
	d.rooms[r.number] = nil
	delete(d.named, r.name)
}

// resized returns dones with space for size, and the number of evicted deliveries.
// For a smaller size it copies the rest: slab and map never shrink.
func (d *dones) resized(size int) (_ *dones, evicted int) {
	for d.size = size; len(d.at) > size; evicted++ {
		d.remove(d.bySum.list[0].oldest)
	}
	if len(d.slab) <= size {
		return d, evicted
	}
	smaller := newDones(size)
	d.each(func(e slot, name string) { smaller.put(e.key, e.mark, name, -1) })
	return smaller, evicted
}

// each visits all deliveries, room by room, oldest first.
func (d *dones) each(f func(e slot, name string)) {
	for _, r := range d.bySum.list {
		for i := r.oldest; i != none; i = d.slab[i].next {
			f(d.slab[i], r.name)
		}
	}
}
