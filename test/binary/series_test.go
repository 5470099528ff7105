package binary

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
)

// series is one line of /metrics.
type series struct {
	labels    map[string]string
	value     float64 // counters and gauges
	histogram *dto.Histogram
}

// scrape is one reading of /metrics: series by the name of their metric.
type scrape map[string][]series

type labels map[string]string

// read asks for /metrics in the format that carries native histograms.
func (v *vetch) read() (scrape, error) {
	request, err := http.NewRequest(http.MethodGet, v.url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics answers %s", response.Status)
	}
	s := scrape{}
	decoder := expfmt.NewDecoder(response.Body, expfmt.ResponseFormat(response.Header))
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); errors.Is(err, io.EOF) {
			return s, nil
		} else if err != nil {
			return nil, fmt.Errorf("read /metrics: %w", err)
		}
		for _, m := range family.GetMetric() {
			one := series{labels: map[string]string{}, histogram: m.GetHistogram()}
			one.value = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
			for _, l := range m.GetLabel() {
				one.labels[l.GetName()] = l.GetValue()
			}
			s[family.GetName()] = append(s[family.GetName()], one)
		}
	}
}

func (v *vetch) mustRead(t testing.TB) scrape {
	t.Helper()
	s, err := v.read()
	require.NoError(t, err)
	return s
}

// find returns the series whose labels are all in match.
func (s scrape) find(name string, match labels) []series {
	var found []series
	for _, one := range s[name] {
		fits := true
		for label, value := range match {
			fits = fits && one.labels[label] == value
		}
		if fits {
			found = append(found, one)
		}
	}
	return found
}

// sum adds the values of what find returns; of histograms, the counts.
func (s scrape) sum(name string, match labels) float64 {
	var total float64
	for _, one := range s.find(name, match) {
		total += one.value
		if one.histogram != nil {
			total += float64(one.histogram.GetSampleCount())
		}
	}
	return total
}

// by adds the values of what find returns for each combination of the labels named, joined by spaces.
func (s scrape) by(name string, match labels, of ...string) map[string]float64 {
	totals := map[string]float64{}
	for _, one := range s.find(name, match) {
		key := make([]string, len(of))
		for i, label := range of {
			key[i] = one.labels[label]
		}
		totals[strings.Join(key, " ")] += one.value
	}
	maps.DeleteFunc(totals, func(_ string, v float64) bool { return v == 0 })
	return totals
}
