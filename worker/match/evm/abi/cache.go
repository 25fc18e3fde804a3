package abi

import (
	"crypto/sha256"
	"sync"
)

// Cache parses each document once and shares the result by content, so that
// many monitors of one contract cost one parsed ABI. What nobody uses any more
// is forgotten. The zero value is ready; it is safe for concurrent use.
type Cache struct {
	mu     sync.Mutex
	parser Parser
	docs   interned[[32]byte, ABI]
}

// Get parses a document, or returns what an equal document gave before. The
// results are those of Parser.Parse.
func (c *Cache) Get(doc []byte) (a *ABI, problems []error, err error) {
	key := sha256.Sum256(doc)
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.docs.get(key); a != nil {
		return a, a.problems, nil
	}
	a, problems, err = c.parser.Parse(doc)
	if err != nil {
		return nil, nil, err
	}
	c.docs.put(key, a)
	return a, problems, nil
}
