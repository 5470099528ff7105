package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRequestRules(t *testing.T) {
	type request struct{ workload, protocol, method, route string }
	for _, tc := range []struct {
		rule    string
		in, out []request
	}{
		{
			"health-checks",
			[]request{{"a", "http", "GET", "/healthz"}, {"a", "http2", "HEAD", "/readyz/etcd"}, {"a", "grpc", "", "/grpc.health.v1.Health/Check"}, {"a", "http", "GET", "/-/ready"}},
			[]request{{"a", "http", "GET", "/health-insurance"}, {"a", "http", "GET", "/api/healthz"}, {"a", "http", "GET", "/metrics"}, {"a", "redis", "", "PING"}},
		},
		{"scrapes", []request{{"a", "http", "GET", "/metrics"}, {"a", "http", "GET", "/stats/prometheus"}}, []request{{"a", "http", "GET", "/metrics/daily"}, {"a", "http", "GET", "/"}}},
		{
			`workload=shop-* method=GET route="/internal/*/status"`,
			[]request{{"shop-cart", "http", "GET", "/internal/a/b/status"}},
			[]request{{"shop-cart", "http", "POST", "/internal/a/status"}, {"cart", "http", "GET", "/internal/a/status"}, {"shop-cart", "http", "GET", "/internal/status"}},
		},
		{`protocol=postgres route="SELECT pg_*"`, []request{{"db", "postgres", "", "SELECT pg_stat_activity"}}, []request{{"db", "mysql", "", "SELECT pg_stat_activity"}, {"db", "postgres", "", "SELECT users"}}},
		{"route=*a*a", []request{{"", "", "", "aa"}, {"", "", "", "bab a"}}, []request{{"", "", "", "a"}, {"", "", "", "aab"}}},
	} {
		rule, err := ParseRequestRule(tc.rule)
		require.NoError(t, err)
		require.Equal(t, tc.rule, rule.Name)
		for _, r := range tc.in {
			require.True(t, rule.Match(r.workload, r.protocol, r.method, r.route), "%s: %v", tc.rule, r)
		}
		for _, r := range tc.out {
			require.False(t, rule.Match(r.workload, r.protocol, r.method, r.route), "%s: %v", tc.rule, r)
		}
	}
}

func TestRequestRulesThatCannotWork(t *testing.T) {
	for text, want := range map[string]string{
		"health-check":           `"health-check" is no preset (health-checks, scrapes) and no pattern such as route=/internal/*`,
		"":                       `"" is no preset`,
		"path=/a":                `"path=/a" does not begin with workload=, protocol=, method= or route=`,
		"route=/a b":             `"b" does not begin with`,
		"route=":                 "route= has no value; leave it out to fit every route",
		"route=/a route=/b":      "route= is there twice",
		`route="/a`:              "a quotation mark is not closed",
		"route=*":                `"route=*" fits every request`,
		"route=* workload=** ":   "fits every request",
		"health-checks route=/a": `"health-checks" does not begin with`,
	} {
		_, err := ParseRequestRule(text)
		require.ErrorContains(t, err, want, text)
		c := Default()
		c.Agent.IgnoreRequests = []string{text}
		require.ErrorContains(t, c.Validate(), "agent.ignore_requests: ", text)
	}
	c := Default()
	for range maxRequestRules + 1 {
		c.Agent.IgnoreRequests = append(c.Agent.IgnoreRequests, "scrapes")
	}
	require.ErrorContains(t, c.Validate(), "agent.ignore_requests: at most 50 rules, not 51")
	c.Agent.IgnoreRequests = []string{"scrapes", "scrapes"}
	require.ErrorContains(t, c.Validate(), `"scrapes" is there twice`)
}

func FuzzRequestRule(f *testing.F) {
	f.Add(`route="/a *" method=GET`, "/a b")
	f.Add("health-checks", "/healthz")
	f.Fuzz(func(t *testing.T, text, route string) {
		rule, err := ParseRequestRule(text)
		if err == nil {
			rule.Match("w", "http", "GET", route)
		}
	})
}
