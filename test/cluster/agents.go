package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// agents finds the agent's pod of each node.
func (t *trial) agents(ctx context.Context) (map[string]pod, error) {
	list, err := t.pods(ctx, "vetch", component+"agent")
	if err != nil {
		return nil, err
	}
	byNode := map[string]pod{}
	for _, p := range list {
		byNode[p.Spec.NodeName] = p
	}
	return byNode, nil
}

// metrics is what one agent shows.
type metrics map[string]*dto.MetricFamily

// agentPort is where the agents of the chart listen.
const agentPort = "4780"

// scrape reads /metrics of the agent of each node.
func (t *trial) scrape(ctx context.Context) (map[string]metrics, error) {
	all := map[string]metrics{}
	for _, node := range nodeNames {
		var err error
		if all[node], err = t.scrapeAt(ctx, node, agentPort); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// scrapeAt reads /metrics of one agent, from within its node: they listen on its loopback alone.
func (t *trial) scrapeAt(ctx context.Context, node, port string) (metrics, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return dialIn(ctx, t.namespace(node), address)
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+port+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", node, err)
	}
	defer response.Body.Close()
	m, err := parseMetrics(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", node, err)
	}
	return m, nil
}

func parseMetrics(from io.Reader) (metrics, error) {
	text, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(bytes.NewReader(text))
}

// series calls do for the labels and the value of each series of a counter or gauge.
func (m metrics) series(name string, do func(labels map[string]string, value float64)) {
	for _, one := range m[name].GetMetric() {
		labels := map[string]string{}
		for _, l := range one.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		do(labels, one.GetCounter().GetValue()+one.GetGauge().GetValue())
	}
}

// sum adds the series that have all of the labels ("container_id", "/k8s/...").
func (m metrics) sum(name string, want ...string) float64 {
	var total float64
	m.series(name, func(labels map[string]string, value float64) {
		for i := 0; i < len(want); i += 2 {
			if labels[want[i]] != want[i+1] {
				return
			}
		}
		total += value
	})
	return total
}
