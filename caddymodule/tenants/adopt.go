package tenants

// Adopt takes over what another cache knows, of a source that is configured the same:
// the tenants' keys, with their age, and which clients are known.
func (c *Cache) Adopt(from *Cache) {
	from.mu.Lock()
	defer from.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range from.known.Keys() { // the least recently used first
		t, _ := from.known.Peek(name)
		next := *t
		next.base, next.snapshot = nil, nil
		c.known.Add(name, &next)
	}
	for _, client := range from.budget.known.Keys() {
		c.budget.known.Add(client, struct{}{})
	}
}
