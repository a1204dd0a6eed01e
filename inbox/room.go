package inbox

// A Room is how the space of an engine is taken when a delivery asks for some.
// The share of a handler, and of a tenant within it, follows from what is free:
// a handler may take eight times as much, a tenant four times. So one alone can
// take 8/9 of the limit, however many fill up at once there is something left for
// the next, and no number of handlers needs to be known.
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

// Refuses says why a delivery of q that takes size bytes must not be stored, or "".
func (r Room) Refuses(q Queue, size int64) Why {
	free := r.Limit - r.Used - size
	switch {
	case r.Limit <= 0:
		return ""
	case free < 0:
		return WhyFull
	case r.Handler+size > handlerShare*free && r.Handler == r.Used:
		return WhyFull // it has all that there is
	case r.Handler+size > handlerShare*free, q.Tenant != "" && r.Queue+size > tenantShare*free:
		return WhyShare
	}
	return ""
}
