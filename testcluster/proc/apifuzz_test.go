package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api/v1"
)

// TestFuzzAPI sends requests made from docs/openapi.json to a real node with two
// tenants, with the keys of all roles and without: none is a fault of the node's, none
// tells of the other tenant, and what refuses is a problem of RFC 9457. `make fuzz-api`
// runs it for FUZZTIME; otherwise it is short.
//
// OZMO_FUZZ_API is how long, like 60s; OZMO_FUZZ_API_SEED repeats a run.
func TestFuzzAPI(t *testing.T) {
	const short = 1500
	var lasts time.Duration
	if text := os.Getenv("OZMO_FUZZ_API"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("OZMO_FUZZ_API: %v", err)
		}
	}
	f := newAPIFuzz(t, setting(t, "OZMO_FUZZ_API_SEED", 1))
	end := time.Now().Add(lasts)
	for n := 0; lasts == 0 && n < short || lasts != 0 && time.Now().Before(end) && !t.Failed(); n++ {
		if n%500 == 0 {
			f.furnish()
		}
		f.try(n)
	}
	f.report()
}

// apiFuzz is a node with what is needed to ask it.
type apiFuzz struct {
	t     *testing.T
	seed  uint64
	node  *Node
	gen   *apiGenerator
	conn  net.Conn
	lines *bufio.Reader

	operator string
	keys     map[string][]string // by tenant: those of all roles
	ids      map[string][]string // by tenant: the keys' ids

	statuses map[int]int
	tried    map[string]int
	worked   map[string]int
}

// Of these tenants, everything has their mark in it: where it shows in an answer to
// the other one, something has leaked.
const (
	fuzzOwn   = "alphamark"
	fuzzOther = "bravomark"
)

func newAPIFuzz(t *testing.T, seed uint64) *apiFuzz {
	f := &apiFuzz{
		t: t, seed: seed, node: NewNode(t, Dir(t)), keys: map[string][]string{}, ids: map[string][]string{},
		statuses: map[int]int{}, tried: map[string]int{}, worked: map[string]int{}, gen: newAPIGenerator(seed, readAPIDocument(t)),
	}
	f.node.Process = Start(t, f.node.Log, "ozmo", "serve", "--bootstrap", "--cluster-listen", "127.0.0.1:0", "--data", f.node.Data,
		"--listen", f.node.Listen, "--http-rate-key", "0", "--http-rate-address", "0", "--http-cors-origins", "https://good.example")
	f.node.AwaitReady(t)
	Eventually(t, "an operator's key", func(ctx context.Context) error {
		k, err := f.node.Client().CreateKey(ctx, "", v1.KeyRequest{Name: "fuzz"})
		f.operator = k.Text
		return err
	})
	f.gen.names = map[string][]string{
		"id": {"net", "mon", "hook"}, "name": {"sec"}, "network": {"net"}, "sharednetwork": {"net"}, "monitor": {"mon"}, "trigger": {"hook"},
		"delivery": {strings.Repeat("0", 32)}, "alert": {strings.Repeat("0", 64)},
	}
	Eventually(t, "the node's name", func(ctx context.Context) error {
		s, err := f.node.Client().Status(ctx)
		f.gen.names["node"] = []string{s.Node}
		return err
	})
	f.gen.tenant = fuzzOwn
	t.Cleanup(func() {
		if f.conn != nil {
			_ = f.conn.Close()
		}
	})
	return f
}

// furnish makes both tenants anew, with one of everything.
func (f *apiFuzz) furnish() {
	f.t.Helper()
	for _, tenant := range []string{fuzzOwn, fuzzOther} {
		f.send(f.operator, apiRequest{method: "DELETE", target: "/v1/tenants/" + tenant})
		for path, doc := range f.documents(tenant) {
			if status, body := f.put(path, doc); status >= 300 {
				f.t.Fatalf("PUT %s: %d %s", path, status, body)
			}
		}
		f.keys[tenant], f.ids[tenant] = nil, nil
		for _, role := range []string{"viewer", "member", "admin", "owner"} {
			_, body, _ := f.send(f.operator, apiRequest{method: "POST", target: "/v1/tenants/" + tenant + "/keys", body: `{"role":"` + role + `","name":"of ` + tenant + `"}`, header: []string{"Content-Type: application/json"}})
			var k v1.NewKey
			if err := json.Unmarshal([]byte(body), &k); err != nil || k.Text == "" {
				f.t.Fatalf("key of %s: %v: %s", tenant, err, body)
			}
			f.keys[tenant] = append(f.keys[tenant], k.Text)
			f.ids[tenant] = append(f.ids[tenant], k.ID)
		}
		f.gen.names["key"] = f.ids[fuzzOwn]
	}
}

// documents are what a tenant has, in the order of references, by path.
func (f *apiFuzz) documents(tenant string) map[string]string {
	text := func(doc any) string {
		data, err := json.Marshal(doc)
		if err != nil {
			f.t.Fatal(err)
		}
		return string(data)
	}
	base := "/v1/tenants/" + tenant
	network := Network("net", 1, 1, "http://127.0.0.1:9/"+tenant)
	network["name"] = "network of " + tenant
	hook := Webhooks("hook", "http://127.0.0.1:9/"+tenant, "secret of "+tenant)["hook"].(Doc)
	hook["name"] = "hook of " + tenant
	monitor := Monitor("monitor of "+tenant, "net", "0x000000000000000000000000000000000000dEaD", "hook", Event("value > 1"))
	right := map[string][]string{
		"network.put": {text(network)}, "trigger.put": {text(hook)}, "monitor.put": {text(monitor)}, "sharednetwork.put": {text(network)},
		"secret.put": {`{"value":"x"}`},
	}
	if tenant == fuzzOwn {
		f.gen.bodies = right
	}
	for _, step := range [][2]string{{base, ""}, {base + "/networks/net", text(network)}, {base + "/triggers/hook", text(hook)}} {
		if status, body := f.put(step[0], step[1]); status >= 300 {
			f.t.Fatalf("PUT %s: %d %s", step[0], status, body)
		}
	}
	return map[string]string{base + "/monitors/mon": text(monitor), base + "/secrets/sec": `{"value":"stored of ` + tenant + `"}`}
}

func (f *apiFuzz) put(target, body string) (int, string) {
	r := apiRequest{method: "PUT", target: target, body: body}
	if body != "" {
		r.header = []string{"Content-Type: application/json"}
	}
	status, text, _ := f.send(f.operator, r)
	return status, text
}

// try sends one request and looks at the answer.
func (f *apiFuzz) try(n int) {
	r := f.gen.request()
	key, whose := f.bearer()
	if whose == fuzzOwn && f.gen.chance(15) {
		r.target = strings.ReplaceAll(r.target, fuzzOwn, fuzzOther)
	}
	status, body, header := f.send(key, r)
	f.statuses[status]++
	f.tried[r.operation]++
	if status < 300 {
		f.worked[r.operation]++
	}
	fail := func(format string, args ...any) {
		f.t.Helper()
		f.t.Errorf("seed %d, request %d, key of %q: %s\n%s %q %q\n%.300q\nanswer: %d %s",
			f.seed, n, whose, fmt.Sprintf(format, args...), r.method, r.target, r.header, r.body, status, body[:min(len(body), 1000)])
	}
	if status >= 500 && status != http.StatusServiceUnavailable {
		fail("a fault of the node's")
	}
	if whose != "operator" {
		for _, leak := range []string{"of " + fuzzOther, "/" + fuzzOther + "\"", fuzzOther + "/net"} {
			if strings.Contains(body, leak) && !strings.Contains(r.target+r.body, leak) {
				fail("it tells of the other tenant")
			}
		}
		if whose == "" && status < 300 && r.target != "/v1/openapi.json" && r.method != http.MethodOptions {
			fail("it works without a key")
		}
		if status < 300 && strings.HasPrefix(r.target, "/v1/tenants/"+fuzzOther) {
			fail("it works on the other tenant")
		}
	}
	if status >= 400 && r.method != http.MethodHead && (r.operation != "health.get" || status != http.StatusServiceUnavailable) {
		f.problem(fail, status, body, header)
	}
	if status == http.StatusUnauthorized && whose == fuzzOwn {
		f.furnish() // somebody has deleted the key, or the tenant
	}
}

// problem checks what refuses.
func (f *apiFuzz) problem(fail func(string, ...any), status int, body string, header http.Header) {
	// The server itself answers what is no request, or has too large a header.
	if status == http.StatusRequestHeaderFieldsTooLarge || status == http.StatusBadRequest && strings.HasPrefix(body, "400 Bad Request") ||
		status == http.StatusExpectationFailed || status == http.StatusNotImplemented {
		return
	}
	var p struct {
		Title, Detail string
		Status        int
	}
	if header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(body), &p) != nil || p.Status != status || p.Title == "" || p.Detail == "" {
		fail("it is no problem of RFC 9457: %v", header)
	}
}

// bearer is whose key a request has.
func (f *apiFuzz) bearer() (key, whose string) {
	switch g := f.gen; {
	case g.chance(5):
		return "", ""
	case g.chance(2):
		return pick(g, []string{"x", "ozmo_aaaaaaaaaaaa_" + strings.Repeat("a", 32), strings.Repeat("k", 5000), "\xff"}), ""
	case g.chance(25):
		return f.operator, "operator"
	default:
		return pick(g, f.keys[fuzzOwn]), fuzzOwn
	}
}

const fuzzPatience = 30 * time.Second // for an answer

// send writes a request as it is and reads the answer; of a stream, its beginning.
func (f *apiFuzz) send(key string, r apiRequest) (int, string, http.Header) {
	f.t.Helper()
	var text strings.Builder
	target := strings.Map(func(r rune) rune {
		if r == ' ' || r < ' ' {
			return '_' // it would end the line
		}
		return r
	}, r.target)
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: node\r\n", r.method, target)
	if key != "" {
		fmt.Fprintf(&text, "Authorization: Bearer %s\r\n", key)
	}
	for _, h := range r.header {
		text.WriteString(h + "\r\n")
	}
	if r.chunks != "" {
		text.WriteString("Transfer-Encoding: chunked\r\n\r\n" + r.chunks)
	} else {
		fmt.Fprintf(&text, "Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
	}
	var last error
	for range 3 {
		resp, body, err := f.exchange(r.method, text.String())
		if err != nil {
			last = err // the connection was closed after the answer before
			f.hangUp()
			continue
		}
		if resp.Close || r.chunks != "" || resp.Header.Get("Content-Type") == eventStream {
			f.hangUp()
		}
		return resp.StatusCode, body, resp.Header
	}
	if _, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text.String()))); (err != nil || slices.ContainsFunc(r.header, isNoHeader)) && errors.Is(last, syscall.ECONNRESET) {
		return http.StatusBadRequest, "400 Bad Request", http.Header{} // said, and hung up on before it was read
	}
	f.t.Fatalf("seed %d: %s %q: no answer: %v\n%.2000q", f.seed, r.method, r.target, last, text.String())
	return 0, "", nil
}

// isNoHeader reports whether the server refuses a header as such.
func isNoHeader(h string) bool { return strings.HasPrefix(h, "X-Bad") }

const eventStream = "text/event-stream"

func (f *apiFuzz) hangUp() {
	if f.conn != nil {
		_ = f.conn.Close()
		f.conn = nil
	}
}

// exchange sends a request and reads the answer; of a stream, its beginning.
func (f *apiFuzz) exchange(method, text string) (resp *http.Response, body string, err error) {
	if f.conn == nil {
		if f.conn, err = net.Dial("tcp", f.node.Listen); err != nil {
			return nil, "", err
		}
		f.lines = bufio.NewReader(f.conn)
	}
	conn := f.conn
	if err := conn.SetDeadline(time.Now().Add(fuzzPatience)); err != nil {
		return nil, "", err
	}
	// What the node does not want to read to its end it answers all the same.
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = io.WriteString(conn, text) // the answer tells
	}()
	defer func() {
		if err != nil {
			_ = conn.Close() // ends the writing
		}
		<-wrote
	}()
	for {
		if resp, err = http.ReadResponse(f.lines, &http.Request{Method: method}); err != nil {
			return nil, "", err
		}
		if resp.StatusCode != http.StatusContinue {
			break
		}
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") == eventStream {
		start := make([]byte, 256)
		n, _ := resp.Body.Read(start) // it would go on
		_ = conn.Close()
		return resp, string(start[:n]), nil
	}
	data, err := io.ReadAll(resp.Body)
	return resp, string(data), err
}

// report says how it went, and that the node is still well.
func (f *apiFuzz) report() {
	f.t.Helper()
	f.furnish()
	f.hangUp()
	total := 0
	for _, n := range f.statuses {
		total += n
	}
	var never []string
	for _, o := range f.gen.doc.operations {
		if f.tried[o.ID] == 0 {
			f.t.Errorf("operation %s was never tried", o.ID)
		}
		if f.worked[o.ID] == 0 {
			never = append(never, o.ID)
		}
	}
	slices.Sort(never)
	fmt.Printf("\nfuzz of the API: seed %d, %d requests, %d operations; by status %v\n  never with success: %s\n",
		f.seed, total, len(f.gen.doc.operations), f.statuses, strings.Join(never, ", "))
	if log := f.node.Log.After(0); strings.Contains(log, "panic") || strings.Contains(log, "a request failed") {
		f.t.Error("the node's log tells of a panic or a fault")
	}
	f.node.Terminate(f.t, Patience)

}
