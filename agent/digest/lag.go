package digest

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/model"
)

const (
	maxLags  = 1000 // topics of all consumers that go by their own names
	maxTopic = 100  // bytes of its name
)

// lagKey is a consumer and a topic that it reads.
type lagKey struct {
	client model.Workload
	topic  string
}

// lagSeries is what a consumer has not read yet of a topic.
type lagSeries struct {
	labels  labels.Labels
	records uint64
}

// lagging adds up the lags of a snapshot, which are all that there are. Where both ends are watched, those of the end whose requests count
// are taken. The lock is held.
func (d *Digest) lagging(lags []probe.Lag) []lagSeries {
	records := make(map[lagKey]uint64, len(lags))
	for i := range lags {
		lag := &lags[i]
		p := d.pairs[lag.Pair]
		if p == nil || p.link == nil || !p.link.counts(p) {
			continue
		}
		records[lagKey{client: p.link.key.client, topic: process.Clean(lag.Topic, maxTopic)}] += lag.Records
	}
	keys := make([]lagKey, 0, len(records))
	for key := range records {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b lagKey) int {
		return cmp.Or(cmp.Compare(a.client.ID(), b.client.ID()), cmp.Compare(a.topic, b.topic))
	})
	var series []lagSeries
	var last lagKey
	for i, key := range keys {
		n := records[key]
		if i >= maxLags {
			d.dropped[dropTopics]++
			key.topic = other
		}
		if key == last {
			series[len(series)-1].records += n
			continue
		}
		last = key
		series = append(series, lagSeries{
			labels:  labelSet("client_namespace", key.client.Namespace, "client_kind", string(key.client.Kind), "client", key.client.Name, "topic", key.topic),
			records: n,
		})
	}
	return series
}

// counts says whether the end of the link that a pair is of is the one whose requests count.
func (l *link) counts(p *pair) bool {
	client := p.key.Owner
	if p.key.Role == probe.RoleServer {
		client = p.key.Peer
	}
	v := l.views[client]
	return v != nil && v.role == p.key.Role
}
