package eventually

import (
	"testing"
	"time"
)

// Limit is how long Nil waits. It is generous: a slow machine is no failure.
const Limit = 90 * time.Second

// Nil waits until check has nothing to say, and fails the test with the last
// thing it said otherwise.
func Nil(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(Limit)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v: %v", Limit, err)
		}
		<-ticker.C
	}
}
