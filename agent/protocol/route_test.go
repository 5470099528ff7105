package protocol

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRoutesOfHTTP2 in agent/probe compares with the kernel programs, for random paths too.
func TestFoldRoute(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "/users/42": "/users/{id}", "/users/42/": "/users/{id}/", "/users/42/orders/2024-01-31": "/users/{id}/orders/{id}", "/v1/items": "/v1/items",
		"/api/v2/x86_64": "/api/v2/x86_{id}", "/o/550e8400-e29b-41d4-a716-446655440000/x": "/o/{id}/x", "/c/deadbeef01": "/c/{id}", "/facade/decade": "/facade/decade",
		"/order-12345/pay": "/order-{id}/pay", "/static/app.3f9c2b1a7d.js": "/static/app.{id}.js", "/a?token=secret": "/a", "/a;session=secret": "/a", "/a#b": "/a", "*": "*",
		"/" + strings.Repeat("x", 300): "/" + strings.Repeat("x", 103) + "…", "/" + strings.Repeat("x", 102) + "/1234": "/" + strings.Repeat("x", 102) + "/…", "/ü": "/??",
		"/package.Service/Method": "/package.Service/Method", "/google.v1beta1.Base64/Sha256Sum": "/google.v1beta1.Base64/Sha256Sum", "/a\x00b": "~other", "": "~other", "?secret": "~other",
		"http://example.com/users/7?x": "/users/{id}", "http://example.com": "/",
	} {
		route := foldRoute([]byte(path))
		require.Equal(t, want, route, "%q", path)
		require.LessOrEqual(t, len(route), MaxOperation)
	}
}
