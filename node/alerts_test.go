package node_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
)

// events connects to a stream of alerts and yields its lines.
func (r *rig) events(c *http.Client, scheme, key, last string) *bufio.Scanner {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, scheme+"://"+r.node.Listen()+"/v1/tenants/default/alerts/stream", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := c.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("stream: %s", resp.Status)
	}
	return bufio.NewScanner(resp.Body)
}

// await reads lines until one has a text, and returns that and the last id.
func await(t *testing.T, lines *bufio.Scanner, text string) (line, id string) {
	t.Helper()
	var seen []string
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = rest
		}
		if strings.Contains(lines.Text(), text) {
			return lines.Text(), id
		}
		seen = append(seen, lines.Text())
	}
	t.Fatalf("the stream ended without %q (%v): %q", text, lines.Err(), seen)
	return "", ""
}

// Over HTTP with TLS: alerts are told as they fire and are rolled back, the list and the
// alert itself say the same, a later stream goes on where one ended, and one that is
// open ends with the node, which it does not hold up.
func TestAlertsOverHTTP(t *testing.T) {
	r := newRig(t)
	cert, key := t.TempDir()+"/cert.pem", t.TempDir()+"/key.pem"
	node.WriteCertificate(t, "http", cert, key, time.Now())
	r.http = node.HTTP{TLSCert: cert, TLSKey: key, CORSOrigins: []string{"https://console.example"}}
	text := r.file("monitors/all.json")
	r.write("monitors/all.json", strings.Replace(text, `"paused":false`, `"paused":false,"mode":"instant"`, 1))
	r.start()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}} //nolint:gosec // of this test
	defer c.CloseIdleConnections()
	viewer := r.newKey("default", "viewer")
	get := func(path string, v any) http.Header {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.node.Listen()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+viewer)
		req.Header.Set("Origin", "https://console.example")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", path, resp.Status)
		}
		if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
			t.Fatal(err)
		}
		return resp.Header
	}

	stream := r.events(c, "https", viewer, "")
	first := r.transfer(5)
	line, id := await(t, stream, first.String())
	if !strings.Contains(line, `"state":"fired"`) || !strings.Contains(line, `"monitor":"All transfers"`) || !strings.Contains(line, `"variables"`) {
		t.Errorf("%s", line)
	}
	r.chain.Reorg(2, 3)
	gone, _ := await(t, stream, `"state":"retracted"`)
	if !strings.Contains(gone, first.String()) {
		t.Errorf("%s", gone)
	}
	var page v1.AlertPage
	eventually.Nil(t, func() error {
		page = v1.AlertPage{}
		get("/v1/tenants/default/alerts?state=retracted", &page)
		if len(page.Items) != 1 || len(page.Items[0].Changes) != 2 || page.Items[0].Transaction != first.String() {
			return fmt.Errorf("%+v", page)
		}
		return nil
	})
	var one v1.OneAlert
	header := get("/v1/tenants/default/alerts/"+page.Items[0].ID, &one)
	if one.State != "retracted" || len(one.Variables) == 0 || len(one.Changes[0].Deliveries) != 1 {
		t.Errorf("%+v", one)
	}
	if header.Get("Access-Control-Allow-Origin") != "https://console.example" {
		t.Errorf("%v", header)
	}
	var none v1.AlertPage
	get("/v1/tenants/default/alerts?state=fired", &none)
	if len(none.Items) != 0 {
		t.Errorf("%+v", none.Items)
	}
	// From the first event on: what came after it is told again.
	again := r.events(c, "https", viewer, id)
	await(t, again, `"state":"retracted"`)

	began := time.Now()
	r.stop()
	await(t, again, "event: end")
	await(t, stream, "event: end")
	t.Logf("stopped within %v", time.Since(began))
}
