package host

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
)

func newMeter(t testing.TB, o Options) *Meter {
	t.Helper()
	o.Machine = machine()
	if o.Namer == nil {
		o.Namer = namer(o.Root)
	}
	m, err := New(o)
	require.NoError(t, err)
	return m
}

// gathered are the samples of one reading.
type gathered []model.Sample

func gather(m *Meter) (list gathered) {
	m.Gather(func(s model.Sample) { list = append(list, s) })
	return list
}

func (g gathered) find(name string, want labels.Labels) (model.Sample, bool) {
	for _, s := range g {
		if s.Family.Name == name && labels.Equal(s.Labels, want) {
			return s, true
		}
	}
	return model.Sample{}, false
}

func (g gathered) has(name string, want labels.Labels) bool {
	_, ok := g.find(name, want)
	return ok
}

func (g gathered) value(t testing.TB, name string, want labels.Labels) float64 {
	t.Helper()
	s, ok := g.find(name, want)
	if !ok {
		var others []string
		for _, s := range g {
			if s.Family.Name == name && len(others) < 20 {
				others = append(others, s.Labels.String())
			}
		}
		require.Failf(t, "no such series", "%s%s; there are %v", name, want, others)
	}
	return s.Value
}
