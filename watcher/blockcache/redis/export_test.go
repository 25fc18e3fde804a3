package redis

// Asked is the number of questions that Redis has not answered yet.
func Asked(c *Cache) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

// Queued is the number of payloads on their way.
func Queued(c *Cache) int { return len(c.queue) }

// Ask asks, or joins those who do, without waiting. The question is over when
// the channel is closed.
func Ask(c *Cache, key string) <-chan struct{} { return c.ask(key).done }
