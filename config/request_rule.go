package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// RequestRule says which requests are left out of the metrics, but for their number.
type RequestRule struct {
	Name     string // as the user wrote it
	patterns []requestPattern
}

// requestPattern has globs; an empty one fits everything.
type requestPattern struct{ workload, protocol, method, route string }

// maxRequestRules bounds agent.ignore_requests, and with it the series of its counter.
const maxRequestRules = 50

// requestPresets are the rules that have a name of their own.
var requestPresets = map[string][]requestPattern{
	// What kubelet, load balancers and operators ask by convention: Kubernetes, Prometheus, Spring Boot, the gRPC health checking protocol.
	"health-checks": routes("/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/health", "/health/*", "/-/healthy", "/-/ready",
		"/actuator/health", "/actuator/health/*", "/grpc.health.v1.Health/*"),
	// What a Prometheus scrapes by default of programs, kubelet, Envoy and Spring Boot.
	"scrapes": routes("/metrics", "/metrics/cadvisor", "/metrics/probes", "/metrics/resource", "/stats/prometheus", "/actuator/prometheus"),
}

func routes(all ...string) (out []requestPattern) {
	for _, route := range all {
		out = append(out, requestPattern{route: route})
	}
	return out
}

// ParseRequestRule reads a preset's name, or a pattern such as `workload=shop-* method=GET route="/internal/*"`: words of the form
// key=glob that must all fit, of workload, protocol, method and route. In a glob * stands for any characters, also for none and for /.
func ParseRequestRule(text string) (RequestRule, error) {
	rule := RequestRule{Name: strings.TrimSpace(text)}
	if preset, ok := requestPresets[rule.Name]; ok {
		rule.patterns = preset
		return rule, nil
	}
	presets := slices.Sorted(maps.Keys(requestPresets))
	if !strings.Contains(text, "=") {
		return rule, fmt.Errorf("%q is no preset (%s) and no pattern such as %s", text, strings.Join(presets, ", "), "route=/internal/*")
	}
	words, err := splitWords(text)
	if err != nil {
		return rule, fmt.Errorf("%q: %w", text, err)
	}
	var p requestPattern
	fields := map[string]*string{"workload": &p.workload, "protocol": &p.protocol, "method": &p.method, "route": &p.route}
	for _, word := range words {
		key, glob, found := strings.Cut(word, "=")
		field := fields[key]
		switch {
		case !found || field == nil:
			return rule, fmt.Errorf("%q: %q does not begin with workload=, protocol=, method= or route=", text, word)
		case glob == "":
			return rule, fmt.Errorf("%q: %s= has no value; leave it out to fit every %s", text, key, key)
		case *field != "":
			return rule, fmt.Errorf("%q: %s= is there twice", text, key)
		}
		*field = glob
	}
	if strings.Trim(p.workload+p.protocol+p.method+p.route, "*") == "" {
		return rule, fmt.Errorf("%q fits every request", text)
	}
	rule.patterns = []requestPattern{p}
	return rule, nil
}

// splitWords parts a text at spaces. A value in double quotes may hold some.
func splitWords(text string) (words []string, err error) {
	var word strings.Builder
	quoted := false
	for _, c := range text + " " {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ' ' && !quoted:
			if word.Len() > 0 {
				words = append(words, word.String())
			}
			word.Reset()
		default:
			word.WriteRune(c)
		}
	}
	if quoted {
		return nil, errors.New("a quotation mark is not closed")
	}
	return words, nil
}

// Match reports whether a request to a workload, by its labels in the metrics, is one of the rule.
func (r RequestRule) Match(workload, protocol, method, route string) bool {
	return slices.ContainsFunc(r.patterns, func(p requestPattern) bool {
		return fits(p.route, route) && fits(p.workload, workload) && fits(p.protocol, protocol) && fits(p.method, method)
	})
}

// fits matches a glob whose * stands for any characters. Nothing is tried twice, so it takes len(glob)*len(text) steps at the most.
func fits(glob, text string) bool {
	if glob == "" {
		return true
	}
	parts := strings.Split(glob, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return glob == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return strings.HasSuffix(text, last)
}
