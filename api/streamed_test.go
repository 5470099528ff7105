package api

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
)

// many are two families with two series each, and one with none.
func many() samples {
	info := &model.Family{Name: "kube_pod_info", Help: "The pod.", Type: model.Gauge}
	restarts := &model.Family{Name: "kube_restarts_total", Help: "Restarts.", Type: model.Counter}
	return samples{
		{Family: info, Labels: labels.FromStrings("pod", "a"), Value: 1}, {Family: info, Labels: labels.FromStrings("pod", "b"), Value: 1},
		{Family: restarts, Labels: labels.FromStrings("pod", "a"), Value: 3}, {Family: restarts, Labels: labels.FromStrings("pod", "b"), Value: 0},
	}
}

func TestStreamedMetricsInEveryFormat(t *testing.T) {
	reg := prometheus.NewRegistry()
	few := prometheus.NewGauge(prometheus.GaugeOpts{Name: "vetch_few", Help: "Of the registry."})
	reg.MustRegister(few)
	base, _ := serve(t, Options{Gatherer: reg, Stream: many()})
	want := []string{
		"# TYPE kube_pod_info gauge", `kube_pod_info{pod="a"} 1`, `kube_pod_info{pod="b"} 1`, "# TYPE kube_restarts_total counter", `kube_restarts_total{pod="a"} 3`,
		`kube_restarts_total{pod="b"} 0`, "vetch_few 0",
	}
	_, text := fetch(t, base+"/metrics")
	for _, line := range want {
		require.Equal(t, 1, strings.Count("\n"+text, "\n"+line+"\n"), line)
	}
	_, text = fetch(t, base+"/metrics", "Accept", "application/openmetrics-text;version=1.0.0")
	require.Contains(t, text, `kube_restarts_total{pod="a"} 3.0`)
	require.True(t, strings.HasSuffix(text, "# EOF\n"), text)

	response, text := fetch(t, base+"/metrics", "Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	dec := expfmt.NewDecoder(bytes.NewReader([]byte(text)), expfmt.ResponseFormat(response.Header))
	found := map[string]int{}
	for {
		var f dto.MetricFamily
		if dec.Decode(&f) != nil {
			break
		}
		found[f.GetName()] = len(f.Metric)
	}
	require.Equal(t, 2, found["kube_pod_info"])
	require.Equal(t, 2, found["kube_restarts_total"])
	require.Equal(t, 1, found["vetch_few"])
}
