package inbox

// A Room is the space of an engine in use when a delivery arrives. The share of a
// handler, and of a tenant within it, depends on the free space: a handler may use
// eight times as much, a tenant four times. So one alone can use 8/9 of the limit,
// there is always something left for another, and the number of handlers need not be
// known.
type Room struct {
	Limit   int64 // max_size; 0: none
	Used    int64 // by all
	Handler int64 // by all tenants of the delivery's handler
	Queue   int64 // by its tenant
}

const (
	handlerShare = 8
	tenantShare  = 4
)

// Refuses says why a delivery of q with size bytes must not be stored, or "".
func (r Room) Refuses(q Queue, size int64) Why {
	free := r.Limit - r.Used - size
	switch {
	case r.Limit <= 0:
		return ""
	case free < 0:
		return WhyFull
	case r.Handler+size > handlerShare*free && r.Handler == r.Used:
		return WhyFull // it already has its maximum
	case r.Handler+size > handlerShare*free, q.Tenant != "" && r.Queue+size > tenantShare*free:
		return WhyShare
	}
	return ""
}
