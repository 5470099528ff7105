package digest

import (
	"cmp"
	"strings"

	"github.com/vetch-dev/vetch/agent/names"
	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
)

const protocolDNS probe.Protocol = "dns"

const maxDomains = 50 // names of one container that go by themselves, as with coroot-node-agent

// domainKey is what coroot-node-agent tells the questions of a container apart by. The operation is the type and the name.
func (b *container) domainKey(r *probe.RequestDelta) tallyKey {
	kind, domain, _ := strings.Cut(r.Route, " ")
	return tallyKey{
		status: process.Clean(cmp.Or(r.Code, "failed"), maxCode), kind: process.Clean(kind, maxCode), domain: bound(b.domains, process.Clean(domain, maxName), maxDomains),
	}
}

// boundDomain keeps the last quarter of a workload's routes for the registered domains of the names that did not fit into the rest.
func boundDomain(routes map[string]struct{}, route string, limit int) string {
	if _, known := routes[route]; known || len(routes) < limit*3/4 {
		return route
	}
	kind, domain, _ := strings.Cut(route, " ")
	if domain == "" || domain[0] == '~' {
		return route
	}
	domain, _ = names.Registered(domain)
	return kind + " " + domain
}
