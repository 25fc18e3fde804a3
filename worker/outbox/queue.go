package outbox

import "sync"

// queue holds the keys that are due and gives them out tenant by tenant in
// turn, each with a slot: maxAttempts of them in all, tenantAttempts for one
// tenant.
type queue struct {
	mu      sync.Mutex
	keys    map[string][]string // by tenant; none is empty
	turn    []string            // the tenants of keys; the first is next
	running map[string]int      // slots taken, by tenant
	total   int                 // slots taken
}

// clear forgets the keys, not the slots.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.keys)
	q.turn = q.turn[:0]
}

func (q *queue) push(tenant, key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.keys == nil {
		q.keys, q.running = map[string][]string{}, map[string]int{}
	}
	if q.keys[tenant] == nil {
		q.turn = append(q.turn, tenant)
	}
	q.keys[tenant] = append(q.keys[tenant], key)
}

// pop takes a slot and the key to use it for. The caller gives the slot back
// with release.
func (q *queue) pop() (tenant, key string, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total == maxAttempts {
		return "", "", false
	}
	for i, tenant := range q.turn {
		if q.running[tenant] == tenantAttempts {
			continue
		}
		keys := q.keys[tenant]
		q.turn = append(q.turn[:i], q.turn[i+1:]...)
		if len(keys) > 1 {
			q.keys[tenant] = keys[1:]
			q.turn = append(q.turn, tenant)
		} else {
			delete(q.keys, tenant)
		}
		q.running[tenant]++
		q.total++
		return tenant, keys[0], true
	}
	return "", "", false
}

// release gives a slot back.
func (q *queue) release(tenant string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	if q.running[tenant]--; q.running[tenant] == 0 {
		delete(q.running, tenant)
	}
}
