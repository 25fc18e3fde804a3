package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// What a page of another origin may send and see.
const (
	corsMethods = "GET, PUT, POST, DELETE"
	corsHeaders = "Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID, X-Request-Id"
	corsExposed = "ETag, Location, RateLimit, RateLimit-Policy, Retry-After, X-Ozmo-Index, X-Request-Id"
	corsMaxAge  = "600"
)

// CheckOrigin refuses what is no origin as browsers send it.
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != origin || strings.ToLower(origin) != origin || strings.Contains(origin, "*") {
		return fmt.Errorf("%q is no origin: want scheme, host and, where it is not the usual one, port, in lower case, like https://console.example.com", origin)
	}
	return nil
}

// CORS lets pages of some origins, compared as they are, use a handler with keys.
// Cookies and the like are never let through. Without origins it is the handler itself.
func CORS(origins []string, h http.Handler) http.Handler {
	if len(origins) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		known := slices.Contains(origins, origin)
		if known {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Expose-Headers", corsExposed)
		}
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			h.ServeHTTP(w, r)
			return
		}
		if known {
			w.Header().Set("Access-Control-Allow-Methods", corsMethods)
			w.Header().Set("Access-Control-Allow-Headers", corsHeaders)
			w.Header().Set("Access-Control-Max-Age", corsMaxAge)
		}
		w.WriteHeader(http.StatusNoContent) // without the headers, browsers refuse
	})
}
