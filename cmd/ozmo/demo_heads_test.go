package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func at(seconds int) time.Time { return time.Unix(int64(seconds), 0) }

func TestHeadLog(t *testing.T) {
	l := newHeadLog()
	if _, ok := l.tip(); ok {
		t.Error("a head before any came")
	}
	l.add(head{number: 10, hash: "a10", parent: "a9", at: at(10)})
	l.add(head{number: 11, hash: "a11", parent: "a10", at: at(11)})
	l.add(head{number: 12, hash: "a12", parent: "a11", at: at(12)})
	// Another branch grows from 10; only its newest block is announced.
	l.add(head{number: 13, hash: "b13", parent: "b12", at: at(20)})
	l.add(head{number: 14, hash: "b14", parent: "b13", at: at(21)})
	if tip, ok := l.tip(); !ok || tip.hash != "b14" {
		t.Errorf("tip %v %v", tip, ok)
	}
	for _, tc := range []struct {
		height uint64
		hash   string
		want   int // 0: unknown
		more   bool
	}{
		{9, "a9", 10, false},
		{10, "a10", 11, false},
		{11, "a11", 12, false},
		{11, "b11", 20, false}, // came with b13
		{12, "b12", 20, false},
		{13, "b13", 21, false},
		{14, "b14", 0, true}, // not confirmed yet
		{13, "c13", 0, true}, // perhaps of a branch to come
		{8, "a8", 0, false},  // before the log began
	} {
		got, known, more := l.confirmed(tc.height, tc.hash)
		if known != (tc.want != 0) || known && !got.Equal(at(tc.want)) || (more != nil) != tc.more {
			t.Errorf("%s: %v %v, more to come: %v; want %d", tc.hash, got, known, more != nil, tc.want)
		}
	}
}

func TestHeadLogForgets(t *testing.T) {
	l := newHeadLog()
	for i := range 3 * keepHeads {
		l.add(head{number: uint64(i), hash: fmt.Sprint("h", i+1), parent: fmt.Sprint("h", i), at: at(i)})
		l.add(head{number: uint64(i), hash: fmt.Sprint("h", i+1), parent: fmt.Sprint("x", i), at: at(i)})
	}
	if len(l.parents) > keepHeads || len(l.order) != len(l.parents) || len(l.jumps) > keepHeads {
		t.Errorf("%d parents, %d in order, %d jumps; want at most %d", len(l.parents), len(l.order), len(l.jumps), keepHeads)
	}
}

func TestHeadLogAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newHeadLog()
		l.add(head{number: 10, hash: "a10", parent: "a9", at: at(10)})
		go func() {
			<-time.After(time.Second) // virtual
			l.add(head{number: 11, hash: "a11", parent: "a10", at: at(11)})
		}()
		if got, known := l.await(t.Context(), 10, "a10"); !known || !got.Equal(at(11)) {
			t.Errorf("confirmed at %v, %v", got, known)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, known := l.await(ctx, 11, "a11"); known {
			t.Error("a time for a block that nothing confirms")
		}
	})
}

// headSource answers a subscription with the given messages, then hangs up.
func headSource(t *testing.T, messages ...string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		_, request, err := conn.Read(r.Context())
		if err != nil || !strings.Contains(string(request), `"newHeads"`) {
			t.Errorf("asked for %q, %v", request, err)
			return
		}
		for _, m := range messages {
			if err := conn.Write(r.Context(), websocket.MessageText, []byte(m)); err != nil {
				return
			}
		}
		_ = conn.Close(websocket.StatusNormalClosure, "")
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

const subscribed = `{"jsonrpc":"2.0","id":1,"result":"0x1"}`

func notice(number, hash, parent string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":{"number":%q,"hash":%q,"parentHash":%q}}}`, number, hash, parent)
}

func TestSubscribeHeads(t *testing.T) {
	l := newHeadLog()
	began := time.Now()
	ended, err := subscribeHeads(t.Context(), headSource(t, subscribed, notice("0x1f", "0xb", "0xa"), notice("0x20", "0xc", "0xb")), l)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("the chain hung up: %v", err)
	}
	tip, _ := l.tip()
	confirmed, known, _ := l.confirmed(31, "0xb")
	if tip.number != 32 || tip.hash != "0xc" || !known || confirmed.Before(began) {
		t.Errorf("tip %+v, block 31 confirmed at %v (%v)", tip, confirmed, known)
	}
}

func TestSubscribeHeadsRefused(t *testing.T) {
	for name, tc := range map[string]struct{ answer, want string }{
		"an error":         {`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}`, "no such method"},
		"no JSON":          {`hello`, "subscribe"},
		"no answer at all": {`{}`, "subscribe"},
	} {
		if _, err := subscribeHeads(t.Context(), headSource(t, tc.answer), newHeadLog()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	ended, err := subscribeHeads(t.Context(), headSource(t, subscribed, notice("many", "0xb", "0xa")), newHeadLog())
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "many") {
		t.Errorf("a block without a number: %v", err)
	}
	if _, err := subscribeHeads(t.Context(), "ws://127.0.0.1:1", newHeadLog()); err == nil {
		t.Error("nobody is there, and no error")
	}
}
