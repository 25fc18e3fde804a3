package client

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

func TestCheckServer(t *testing.T) {
	for text, says := range map[string]string{
		"https://ozmo.example.net":      "",
		"https://ozmo.example.net/ozmo": "",
		"http://127.0.0.1:8080":         "",
		"http://[::1]:8080":             "",
		"http://localhost:8080":         "",
		"http://10.0.0.1:8080":          "would send the key in clear",
		"http://localhost.example.net":  "would send the key in clear",
		"ozmo.example.net":              "want one like https://",
		"ftp://ozmo.example.net":        "want one like https://",
		"https://":                      "want one like https://",
		"https://s3cret:pw@example.net": "holds a name or password",
		"https://example.net/?a=s3cret": "leave out what begins with ?",
		"https://example.net:s3cret":    "want one like https://",
	} {
		_, err := CheckServer(text, false)
		switch {
		case says == "" && err != nil, says != "" && (!errors.Is(err, ErrServer) || !strings.Contains(err.Error(), says)):
			t.Errorf("%s: %v, want %q", text, err, says)
		case err != nil && strings.Contains(err.Error(), "s3cret"):
			t.Errorf("a secret is shown: %v", err)
		}
	}
	if _, err := CheckServer("http://10.0.0.1:8080", true); err != nil {
		t.Errorf("waived: %v", err)
	}
}

// serve is a client of a server, asked with a key.
func serve(t *testing.T, path string, handler http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	c, err := Remote(Server{URL: s.URL + path, Key: "ozmo_id_secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRemoteAsks(t *testing.T) {
	c := serve(t, "/behind/a%20proxy/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := strings.Join([]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Get("Authorization"), r.Header.Get("If-Match"), string(body)}, " ")
		const want = `PUT /behind/a%20proxy/v1/tenants/acme/configuration create=true&dry_run=true&mode=merge Bearer ozmo_id_secret "tag" {"monitors":{"m":{}}}`
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		_, _ = io.WriteString(w, `{"version":7,"changed":true,"changes":[{"kind":"monitor","id":"m","change":"created"}]}`)
	})
	done, err := c.Apply(t.Context(), "acme", Configuration{Monitors: map[string]json.RawMessage{"m": json.RawMessage(`{}`)}},
		Terms{DryRun: true, Merge: true, Create: true, Match: `"tag"`})
	if err != nil || done.Version != 7 || len(done.Changes) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
}

// A configuration that replaces all says of every kind what there is to be.
func TestRemoteReplaces(t *testing.T) {
	c := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if got := string(body); got != `{"networks":{},"monitors":{"m":{}},"triggers":{},"scripts":{}}` {
			t.Errorf("sent %s", got)
		}
		_, _ = io.WriteString(w, `{"version":7}`)
	})
	if _, err := c.Apply(t.Context(), "acme", Configuration{Monitors: map[string]json.RawMessage{"m": json.RawMessage(`{}`)}}, Terms{}); err != nil {
		t.Fatal(err)
	}
}

// Ids are text of people: they get into a path whole.
func TestPathsOfIDs(t *testing.T) {
	const id = "a/b c?d#é%2F.."
	c := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Path; got != "/v1/tenants/acme/scripts/"+id {
			t.Errorf("got %s", got)
		}
		if got := strings.Count(r.URL.EscapedPath(), "/"); got != 5 {
			t.Errorf("%d parts: %s", got, r.URL.EscapedPath())
		}
		_, _ = io.WriteString(w, `{}`)
	})
	if _, err := c.Document(t.Context(), "acme", "scripts", id); err != nil {
		t.Fatal(err)
	}
}

func TestPages(t *testing.T) {
	c := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		next := map[string]string{"": "b", "b": "c", "c": ""}[r.URL.Query().Get("cursor")]
		_ = json.NewEncoder(w).Encode(map[string]any{"items": []map[string]string{{"id": "x" + next}}, "next": next})
	})
	list, err := c.Documents(t.Context(), Shared, "networks")
	if err != nil || len(list) != 3 || list[0].ID != "xb" || list[2].ID != "x" {
		t.Fatalf("%+v, %v", list, err)
	}
}

func TestProblemsAreTold(t *testing.T) {
	status := http.StatusUnprocessableEntity
	c := serve(t, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "req1")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"detail":"the document is not valid","errors":[{"location":"body.name","message":"is empty"},{"location":"body.networks","message":"is missing"}]}`)
	})
	_, err := c.Tenant(t.Context(), "acme")
	if got := err.Error(); got != "the document is not valid\n  body.name: is empty\n  body.networks: is missing" || !errors.Is(err, api.ErrBadRequest) {
		t.Errorf("got %s", got)
	}
	status = http.StatusInternalServerError
	if _, err = c.Tenant(t.Context(), "acme"); !strings.Contains(err.Error(), "(request req1)") {
		t.Errorf("got %v", err)
	}
	status = http.StatusNotFound
	if _, err = c.Tenant(t.Context(), "acme"); !NotFound(err) || Changed(err) {
		t.Errorf("got %v", err)
	}
	status = http.StatusPreconditionFailed
	if _, err = c.Tenant(t.Context(), "acme"); !Changed(err) {
		t.Errorf("got %v", err)
	}
}

// The key goes where it was sent, and not where that server would have it.
func TestNoRedirects(t *testing.T) {
	var reached atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	t.Cleanup(other.Close)
	c := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	_, err := c.Tenant(t.Context(), "acme")
	if err == nil || !strings.Contains(err.Error(), "sends its callers elsewhere") || reached.Load() {
		t.Errorf("reached %v, %v", reached.Load(), err)
	}
}

// answers is a transport with prepared answers.
type answers []prepared

type prepared struct {
	status     int
	wait, body string
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		if _, err := io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	next := (*a)[0]
	*a = (*a)[1:]
	return answer(next), nil
}

// broken ends the connection before there is an answer.
type broken struct{ left int }

func (b *broken) RoundTrip(*http.Request) (*http.Response, error) {
	if b.left--; b.left >= 0 {
		return nil, io.EOF
	}
	return answer(prepared{200, "", `{"id":"acme"}`}), nil
}

// A connection that ends is no end, unless what was asked for has to be new.
func TestAsksAgainOverAnotherConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{http: &http.Client{Transport: &broken{left: 2}}}
		if got, err := c.Tenant(t.Context(), "acme"); err != nil || got.ID != "acme" {
			t.Errorf("%+v, %v", got, err)
		}
		b := &broken{left: 2}
		c = &Client{http: &http.Client{Transport: b}}
		if _, err := c.PutDocument(t.Context(), "acme", "monitors", "m", json.RawMessage(`{}`), true); !errors.Is(err, io.EOF) || b.left != 1 {
			t.Errorf("%v, %d left", err, b.left)
		}
	})
}

func answer(p prepared) *http.Response {
	h := http.Header{}
	if p.wait != "" {
		h.Set("Retry-After", p.wait)
	}
	return &http.Response{StatusCode: p.status, Header: h, Body: io.NopCloser(strings.NewReader(p.body))}
}

// What is refused for the moment is asked again, with its body, after the time that
// the answer names.
func TestAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := answers{{503, "2", `{"detail":"no leader"}`}, {429, "4", `{"detail":"slower"}`}, {200, "", `{"version":3}`}}
		c := &Client{http: &http.Client{Transport: &list}}
		start := time.Now()
		done, err := c.Apply(t.Context(), "acme", Configuration{}, Terms{})
		if err != nil || done.Version != 3 {
			t.Fatalf("%+v, %v", done, err)
		}
		if took := time.Since(start); took < 3*time.Second || took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
		list = answers{}
		for range tries {
			list = append(list, prepared{503, "1", `{"detail":"no leader"}`})
		}
		if _, err := c.Tenant(t.Context(), "acme"); !errors.Is(err, api.ErrUnavailable) || len(list) != 0 {
			t.Errorf("%v, %d answers left", err, len(list))
		}
	})
}
