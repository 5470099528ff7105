package metrics

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/vetch-dev/vetch/model"
)

// seriesKey is a series as the gatherer names it.
type seriesKey struct {
	name   string
	labels labels.Labels
}

// collectedSeries is what is remembered of a series between two rounds.
type collectedSeries struct {
	ref       storage.SeriesRef
	labels    labels.Labels // with __name__
	created   int64         // Unix ms; the zero sample of this time was written
	round     uint64        // that saw it last
	stored    bool          // at least one sample was taken
	histogram bool
}

// collector takes samples of one gatherer. It is for one goroutine.
type collector struct {
	db     *DB
	series map[seriesKey]*collectedSeries
	told   map[*model.Family]bool // whose metadata was recorded
	round  uint64
	failed bool // the round before was not written, which was logged
}

// Collect stores the present value of all series of g at once, then every interval, and a last time when ctx ends. A series that g no longer has gets
// a staleness marker; one that has a creation time gets a zero sample there, so that rate() counts its first value too.
// What cannot be stored is counted in vetch_store_append_failures_total and does not end it. It returns nil when ctx ends.
func (db *DB) Collect(ctx context.Context, interval time.Duration, g model.Gatherer) error {
	if interval <= 0 {
		return errors.New("collect metrics: the interval must be more than 0")
	}
	c := &collector{db: db, series: make(map[seriesKey]*collectedSeries), told: make(map[*model.Family]bool)}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		c.collect(g)
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.collect(g)
			return nil
		}
	}
}

func (c *collector) collect(g model.Gatherer) {
	c.round++
	now := c.db.opts.now().UnixMilli()
	// Without a deadline: the last round runs when ctx has ended.
	app := c.db.AppenderV2(context.Background())
	g.Gather(func(s model.Sample) { c.append(app, s, now) })
	gone := c.markStale(app, now)
	err := app.Commit()
	c.settle(gone, err == nil)
	if (err != nil) != c.failed {
		c.failed = err != nil
		if c.failed {
			c.db.log.Error("collected samples were not stored", "err", err)
		} else {
			c.db.log.Info("collected samples are stored again")
		}
	}
}

func (c *collector) append(app storage.AppenderV2, s model.Sample, now int64) {
	key := seriesKey{s.Family.Name, s.Labels}
	e := c.series[key]
	if e == nil {
		b := labels.NewBuilder(s.Labels)
		s.Labels.Range(func(l labels.Label) {
			// A process names itself as it likes; JSON and the formats of Prometheus hold only text.
			b.Set(l.Name, strings.ToValidUTF8(l.Value, "\ufffd"))
		})
		b.Set(labels.MetricName, s.Family.Name)
		e = &collectedSeries{labels: b.Labels(), histogram: s.Histogram != nil}
		c.series[key] = e
	}
	if e.round == c.round {
		c.db.counters.failed(storage.ErrDuplicateSampleForTimestamp, 1)
		return
	}
	e.round = c.round
	c.tell(s.Family)
	var start int64 // 0: no zero sample is to be written
	if created := s.Created.UnixMilli(); !s.Created.IsZero() && created != e.created && created < now {
		start = created
	}
	var h *histogram.Histogram
	if s.Histogram != nil {
		h = s.Histogram.Copy() // the store keeps it until Commit, the producer owns it only until we return
	}
	ref, err := app.Append(e.ref, e.labels, start, now, s.Value, h, nil, storage.AOptions{})
	if err != nil {
		return // counted by the appender
	}
	e.ref, e.stored = ref, true
	if start != 0 {
		e.created = start
	}
}

// settle forgets the series that are gone once that is written. Where it was not, zero samples and staleness markers are to be given again.
func (c *collector) settle(gone []seriesKey, written bool) {
	if written {
		for _, key := range gone {
			delete(c.series, key)
		}
		return
	}
	for _, e := range c.series {
		e.ref, e.created = 0, 0
	}
}

// markStale ends the series that the gatherer has no more, and returns them.
func (c *collector) markStale(app storage.AppenderV2, now int64) (gone []seriesKey) {
	stale := math.Float64frombits(value.StaleNaN)
	for key, e := range c.series {
		if e.round == c.round {
			continue
		}
		gone = append(gone, key)
		var h *histogram.Histogram
		if e.histogram {
			h = &histogram.Histogram{Sum: stale}
		}
		if e.stored {
			_, _ = app.Append(e.ref, e.labels, 0, now, stale, h, nil, storage.AOptions{}) // counted by the appender
		}
	}
	return gone
}

func (c *collector) tell(f *model.Family) {
	if c.told[f] {
		return
	}
	if len(c.told) > maxMetadata {
		clear(c.told) // a gatherer that makes its families anew each time
	}
	c.told[f] = true
	types := map[model.MetricType]commonmodel.MetricType{
		model.Counter: commonmodel.MetricTypeCounter, model.Gauge: commonmodel.MetricTypeGauge, model.Histogram: commonmodel.MetricTypeHistogram,
	}
	c.db.SetMetadata(f.Name, metadata.Metadata{Type: types[f.Type], Unit: f.Unit, Help: f.Help})
}
