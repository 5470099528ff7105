package store

import (
	"context"
	"errors"
	"log/slog"
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

const maxTold = 100_000 // families whose metadata was recorded

// Sink is where collected samples go: a store, or what ships them to one.
type Sink interface {
	storage.AppendableV2
	SetMetadata(name string, md metadata.Metadata)
	Reject(err error, samples int) // counts samples that were not given to an appender
}

// CollectorOptions say what is collected. Into, From and Interval are needed.
type CollectorOptions struct {
	Into     Sink
	From     model.Gatherer
	Interval time.Duration
	Labels   labels.Labels // of all series; a series' own go first
	// EndSeries ends all series when Run ends, so that readers elsewhere do not see them any longer. Who starts again soon and keeps the
	// store leaves it out.
	EndSeries bool
	Log       *slog.Logger
	Now       func() time.Time
}

// Collector takes the present value of all series, one round after another.
type Collector struct {
	opts   CollectorOptions
	series map[seriesKey]*collectedSeries
	told   map[*model.Family]bool // whose metadata was recorded
	round  uint64
	last   int64 // Unix ms of the last round
	failed bool  // the round before was not written, which was logged
}

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

// NewCollector makes a collector; it has nothing to close.
func NewCollector(o CollectorOptions) (*Collector, error) {
	if o.Interval <= 0 {
		return nil, errors.New("collect metrics: the interval must be more than 0")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Collector{opts: o, series: make(map[seriesKey]*collectedSeries), told: make(map[*model.Family]bool)}, nil
}

// Run does a round at once, then one every interval, and a last one when ctx ends. A series that is there no longer gets a staleness
// marker; one that has a creation time tells it, so that rate() counts its first value too. What cannot be written is counted where it should have gone,
// and does not end it. It returns nil when ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	tick := time.NewTicker(c.opts.Interval)
	defer tick.Stop()
	for {
		c.Round()
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.Round()
			if c.opts.EndSeries {
				c.end()
			}
			return nil
		}
	}
}

// Round takes all values once. It is for one goroutine.
func (c *Collector) Round() {
	c.write(max(c.opts.Now().UnixMilli(), c.last+1), func(app storage.AppenderV2, now int64) {
		c.opts.From.Gather(func(s model.Sample) { c.append(app, s, now) })
	})
}

// end marks all series as ended, just after the last round.
func (c *Collector) end() { c.write(c.last+1, func(storage.AppenderV2, int64) {}) }

// write is one round; series that fill does not bring have ended.
func (c *Collector) write(now int64, fill func(storage.AppenderV2, int64)) {
	c.round++
	c.last = now
	// Without a deadline: the last round runs when ctx has ended.
	app := c.opts.Into.AppenderV2(context.Background())
	fill(app, now)
	gone := c.markStale(app, now)
	err := app.Commit()
	c.settle(gone, err == nil)
	if (err != nil) != c.failed {
		c.failed = err != nil
		if c.failed {
			c.opts.Log.Error("collected samples were not written", "err", err)
		} else {
			c.opts.Log.Info("collected samples are written again")
		}
	}
}

func (c *Collector) append(app storage.AppenderV2, s model.Sample, now int64) {
	key := seriesKey{s.Family.Name, s.Labels}
	e := c.series[key]
	if e == nil {
		b := labels.NewBuilder(s.Labels)
		c.opts.Labels.Range(func(l labels.Label) {
			if !s.Labels.Has(l.Name) {
				b.Set(l.Name, l.Value)
			}
		})
		s.Labels.Range(func(l labels.Label) {
			// A process names itself as it likes; JSON and the formats of Prometheus hold only text.
			b.Set(l.Name, strings.ToValidUTF8(l.Value, "\ufffd"))
		})
		b.Set(labels.MetricName, s.Family.Name)
		e = &collectedSeries{labels: b.Labels(), histogram: s.Histogram != nil}
		c.series[key] = e
	}
	if e.round == c.round {
		c.opts.Into.Reject(storage.ErrDuplicateSampleForTimestamp, 1)
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
		h = s.Histogram.Copy() // a store keeps it until Commit, the producer owns it only until we return
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
func (c *Collector) settle(gone []seriesKey, written bool) {
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
func (c *Collector) markStale(app storage.AppenderV2, now int64) (gone []seriesKey) {
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

func (c *Collector) tell(f *model.Family) {
	if c.told[f] {
		return
	}
	if len(c.told) > maxTold {
		clear(c.told) // a gatherer that makes its families anew each time
	}
	c.told[f] = true
	types := map[model.MetricType]commonmodel.MetricType{
		model.Counter: commonmodel.MetricTypeCounter, model.Gauge: commonmodel.MetricTypeGauge, model.Histogram: commonmodel.MetricTypeHistogram,
	}
	c.opts.Into.SetMetadata(f.Name, metadata.Metadata{Type: types[f.Type], Unit: f.Unit, Help: f.Help})
}
