package api

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestCORS(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	allowed := []string{"https://console.example.com", "http://localhost:3000"}
	for name, tc := range map[string]struct {
		origins        []string
		method, origin string
		preflight      bool
		status         int
		allow          string
	}{
		"off":                        {nil, "GET", "https://console.example.com", false, 418, ""},
		"off, preflight":             {nil, "OPTIONS", "https://console.example.com", true, 418, ""},
		"known":                      {allowed, "GET", "https://console.example.com", false, 418, "https://console.example.com"},
		"another known":              {allowed, "PUT", "http://localhost:3000", false, 418, "http://localhost:3000"},
		"known, preflight":           {allowed, "OPTIONS", "http://localhost:3000", true, 204, "http://localhost:3000"},
		"plain OPTIONS":              {allowed, "OPTIONS", "http://localhost:3000", false, 418, "http://localhost:3000"},
		"another port":               {allowed, "GET", "http://localhost:3001", false, 418, ""},
		"another scheme":             {allowed, "OPTIONS", "http://console.example.com", true, 204, ""},
		"a name that begins like it": {allowed, "OPTIONS", "https://console.example.com.evil.example", true, 204, ""},
		"null":                       {allowed, "OPTIONS", "null", true, 204, ""},
		"none":                       {allowed, "GET", "", false, 418, ""},
	} {
		r := httptest.NewRequest(tc.method, "/v1/tenants", nil)
		if tc.origin != "" {
			r.Header.Set("Origin", tc.origin)
		}
		if tc.preflight {
			r.Header.Set("Access-Control-Request-Method", "PUT")
		}
		w := httptest.NewRecorder()
		CORS(tc.origins, h).ServeHTTP(w, r)
		got := w.Header()
		if w.Code != tc.status || got.Get("Access-Control-Allow-Origin") != tc.allow || got.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", name, w.Code, got)
		}
		if methods := got.Get("Access-Control-Allow-Methods"); (methods != "") != (tc.preflight && tc.allow != "") {
			t.Errorf("%s: methods %q", name, methods)
		}
		if varies := got.Get("Vary") == "Origin"; varies != (tc.origins != nil) {
			t.Errorf("%s: Vary %q", name, got.Get("Vary"))
		}
	}
}

func TestCheckOrigin(t *testing.T) {
	for _, good := range []string{"https://console.example.com", "http://localhost:3000", "http://[::1]:8080"} {
		if err := CheckOrigin(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "*", "null", "https://*.example.com", "https://example.com/", "https://Example.com", "example.com", "ftp://example.com", "https://a@example.com", "https://example.com?x"} {
		if CheckOrigin(bad) == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
}
