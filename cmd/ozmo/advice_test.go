package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
)

// What a server refuses is told with what can be done about it.
func TestAdvice(t *testing.T) {
	var status int
	var problem, wait string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if wait != "" {
			w.Header().Set("Retry-After", wait)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, problem)
	}))
	t.Cleanup(server.Close)
	t.Setenv("OZMO_KEY", someKey)
	for _, tt := range []struct {
		status        int
		problem, wait string
		says          string // all of standard error
	}{
		{401, `{"detail":"a valid API key is needed"}`, "", "ozmo: a valid API key is needed\nThe key is not valid, or not any more"},
		{403, `{"detail":"this takes a key of role owner, this one is of role viewer"}`, "", "this one is of role viewer\n`ozmo key create TENANT --role owner` makes a key that may; owners"},
		{403, `{"detail":"this takes a key of role operator, this one is of role owner"}`, "", "\n`ozmo key create --operator` makes a key that may"},
		{403, `{"detail":"the token is used"}`, "", "ozmo: the token is used\n"},
		{404, `{"detail":"` + v1.NothingForKey + `"}`, "", "ozmo: there is no tenant \"acme\" for this key\n"},
		{409, `{"detail":"in use"}`, "", "in use\nNothing was changed."},
		{409, `{"detail":"no more","type":"` + v1.TypeOverQuota + `"}`, "", "no more\nOperators raise it with `ozmo tenant quota set`"},
		{412, `{"detail":"Precondition Failed"}`, "", "Precondition Failed\nSomebody has changed it meanwhile, and nothing was overwritten: get it again"},
		{422, `{"detail":"not valid","errors":[{"message":"is odd","location":"body.x"}]}`, "", "ozmo: not valid\n  body.x: is odd\n"},
		{429, `{"detail":"too many"}`, "17", "too many\nTry again in 17s.\n"},
		{503, `{"detail":"no leader"}`, "", "ozmo: no leader\nTry again in 1s.\n"},
		{502, "<html>\x1b[31m\nno " + strings.Repeat("x", 300), "", "ozmo: the node answered 502 Bad Gateway: <html> [31m no " + strings.Repeat("x", 185) + "…\n"},
	} {
		status, problem, wait = tt.status, tt.problem, tt.wait
		r := ozmo(t, "key", "list", "acme", "--server", server.URL)
		r.want(t, exitFailure, "", tt.says)
		if strings.HasSuffix(tt.says, "\n") && !strings.HasSuffix(r.stderr, tt.says) {
			t.Errorf("%d: more is said: %s", tt.status, r.stderr)
		}
	}
	if text := advice(&client.Refusal{Status: 503, Wait: 3 * time.Second, Changes: true}); !strings.HasPrefix(text, "Try again in 3s. The change may have been made all the same") {
		t.Error(text)
	}
	if text := advice(errors.New("no such file")); text != "" {
		t.Error(text)
	}
}

// What is not there has a name.
func TestMissing(t *testing.T) {
	refused := func(status int, detail string) error { return &client.Refusal{Status: status, Detail: detail} }
	for _, tt := range []struct {
		err  error
		want string
	}{
		{refused(404, v1.NothingForKey), `there is no monitor "x" of tenant "t" for this key`},
		{refused(404, "not found"), `monitor "x" of tenant "t": not found`},
		{refused(404, `tenant "t": not found`), `tenant "t": not found`},
		{refused(409, "in use"), "in use"},
	} {
		err := missing(tt.err, "monitor %q of %s", "x", ofOwner("t"))
		if err.Error() != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	if missing(nil, "x") != nil {
		t.Error("an error of nothing")
	}
	if got := ofOwner(client.Shared); got != "all tenants" {
		t.Error(got)
	}
}

// What is given as a key and is none is refused before anybody is asked, and not shown.
func TestGarbageKeys(t *testing.T) {
	server := newAsked(t)
	for _, key := range []string{"s3cret", someKey + " " + someKey, someKey + "\nx", someKey + "\x00", "ozmo_s3cret_s3cret", someKey[:40], "ozmo_ä_s3cret", strings.ToUpper(someKey)} {
		dir := write(t, map[string]any{"key": key})
		if !strings.Contains(key, "\x00") { // no variable holds one
			t.Setenv("OZMO_KEY", key)
			r := ozmo(t, "monitor", "list", "--tenant", "acme", "--server", server.URL)
			r.want(t, exitUsage, "", "OZMO_KEY holds no API key: expected ozmo_ID_SECRET")
			if strings.Contains(r.stderr, "s3cret") || strings.Contains(r.stderr, someKey[10:20]) {
				t.Errorf("%q is shown: %s", key, r.stderr)
			}
		}
		r := ozmo(t, "monitor", "list", "--tenant", "acme", "--server", server.URL, "--key-file", dir+"/key")
		r.want(t, exitUsage, "", "/key holds no API key")
		if strings.Contains(r.stderr, "s3cret") || strings.Contains(r.stderr, someKey[10:20]) {
			t.Errorf("%q is shown: %s", key, r.stderr)
		}
	}
	if got := server.last(); got != "" {
		t.Errorf("the server was asked: %s", got)
	}
	t.Setenv("OZMO_KEY", " "+someKey+"\r\n")
	ozmo(t, "monitor", "list", "--tenant", "acme", "--server", server.URL).want(t, exitOK, "x   X", "")
}
