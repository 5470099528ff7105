package servicemap

import (
	"cmp"
	"context"
	"slices"

	"github.com/prometheus/prometheus/promql"

	"github.com/vetch-dev/vetch/model"
)

// TLS is one way in which new connections of an edge were encrypted, as their first messages say in the clear: version ("1.3") and cipher suite that the server chose,
// the server name (SNI) and protocols (ALPN) that the client asked for. What was not said is empty. ConnectRate is per second.
type TLS struct {
	Client      string  `json:"client"`
	Server      string  `json:"server"`
	Port        int     `json:"port"`
	Version     string  `json:"version"`
	SNI         string  `json:"sni"`
	ALPN        string  `json:"alpn"`
	Cipher      string  `json:"cipher"`
	ConnectRate float64 `json:"connectRate"`
}

// readTLS lists what the edges of w in both directions were encrypted with, the oldest version first.
func (s *Service) readTLS(ctx context.Context, w model.Workload, sp span) ([]TLS, error) {
	all := []TLS{}
	err := s.ask(ctx, sp.end, []instantQuestion{{
		selection{&w, s.home}.edgeRate("vetch_edge_tls_connections_total", pairLabels+",version,sni,alpn,cipher", sp.length()),
		func(k sampleKey, smp promql.Sample) {
			e := k.edge()
			all = append(all, TLS{
				Client: k.client.QualifiedID(), Server: k.server.QualifiedID(), Port: int(e.port), ConnectRate: round(smp.F, 6),
				Version: smp.Metric.Get("version"), SNI: smp.Metric.Get("sni"), ALPN: smp.Metric.Get("alpn"), Cipher: smp.Metric.Get("cipher"),
			})
		},
	}})
	slices.SortFunc(all, func(a, b TLS) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(b.ConnectRate, a.ConnectRate), cmp.Compare(a.Server, b.Server), cmp.Compare(a.Port, b.Port),
			cmp.Compare(a.Client, b.Client), cmp.Compare(a.SNI, b.SNI), cmp.Compare(a.ALPN, b.ALPN), cmp.Compare(a.Cipher, b.Cipher))
	})
	return all, err
}
