package command

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/config"
	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/transport"
	"github.com/vetch-dev/vetch/transport/spool"
)

// origin are the labels that say where series come from.
func origin(l *config.Loaded) (labels.Labels, error) {
	node := l.Node
	if node == "" {
		var err error
		if node, err = os.Hostname(); err != nil {
			return labels.EmptyLabels(), err
		}
	}
	return labels.FromStrings("cluster", l.Cluster, "node", node), nil
}

// collect takes what from hands out into a store or to where it is sent, with the labels of this process.
func collect(l *config.Loaded, log *slog.Logger, into store.Sink, from model.Gatherer, end bool) (*store.Collector, error) {
	where, err := origin(l)
	if err != nil {
		return nil, err
	}
	return collectOf(l, log, into, from, end, where)
}

// collectOf is collect with other labels.
func collectOf(l *config.Loaded, log *slog.Logger, into store.Sink, from model.Gatherer, end bool, where labels.Labels) (*store.Collector, error) {
	return store.NewCollector(store.CollectorOptions{Into: into, From: from, Interval: l.Metrics.Interval, Labels: where, EndSeries: end, Log: log})
}

// shipping are the options of all that is sent to the server. Of the spool's bound metrics have nine tenths, events one.
func shipping(l *config.Loaded, log *slog.Logger, reg prometheus.Registerer) (metrics, events transport.SenderOptions) {
	o := transport.SenderOptions{
		URL: l.Server, UserAgent: "vetch/" + Version(), Log: log, Registerer: reg,
		Credentials: transport.Credentials{
			CAFile: l.Ship.CAFile, CertFile: l.Ship.CertFile, KeyFile: l.Ship.KeyFile,
			TokenFile: l.Ship.TokenFile, Username: l.Ship.Username, PasswordFile: l.Ship.PasswordFile,
		},
	}
	metrics, events = o, o
	if size := int64(l.Ship.SpoolSize); size > 0 {
		metrics.SpoolDir, metrics.SpoolLimit = filepath.Join(l.DataDir, "spool"), size-size/10
		events.SpoolDir, events.SpoolLimit = filepath.Join(l.DataDir, "spool", "events"), size/10
	}
	return metrics, events
}

// newSender opens the spool of the samples that go to the server.
func newSender(l *config.Loaded, log *slog.Logger, reg prometheus.Registerer) (*transport.Sender, error) {
	o, _ := shipping(l, log, reg)
	s, err := transport.NewSender(o)
	return s, shippingError(err)
}

// newEventSender opens the spool of the events that go to the server; nil where that is another store, which takes samples only.
func newEventSender(l *config.Loaded, log *slog.Logger, reg prometheus.Registerer) (*transport.EventSender, error) {
	if to, err := url.Parse(l.Server); err != nil || l.Server == "" || strings.Trim(to.Path, "/") != "" {
		return nil, nil
	}
	_, o := shipping(l, log, reg)
	s, err := transport.NewEventSender(o)
	return s, shippingError(err)
}

// shippingError tells a wrong setting from a spool that cannot be used.
func shippingError(err error) error {
	if err != nil && !errors.Is(err, spool.ErrInUse) && !errors.Is(err, spool.ErrNewerVersion) {
		return wrongConfig(err)
	}
	return err
}

// senders are what goes to the server, if there is one. Each may be nil.
type senders struct {
	metrics *transport.Sender
	events  *transport.EventSender
}

func newSenders(l *config.Loaded, log *slog.Logger, reg prometheus.Registerer) (s senders, err error) {
	if l.Server == "" {
		return s, nil
	}
	if s.metrics, err = newSender(l, log, reg); err != nil {
		return senders{}, err
	}
	if s.events, err = newEventSender(l, log, reg); err != nil {
		return senders{}, errors.Join(err, s.metrics.Close())
	}
	return s, nil
}

// run sends until ctx ends.
func (s senders) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if s.metrics != nil {
		g.Go(func() error { return s.metrics.Run(ctx) })
	}
	if s.events != nil {
		g.Go(func() error { return s.events.Run(ctx) })
	}
	return g.Wait()
}

// Close lets go of the spools, for senders that do not run.
func (s senders) Close() (err error) {
	if s.metrics != nil {
		err = s.metrics.Close()
	}
	if s.events != nil {
		err = errors.Join(err, s.events.Close())
	}
	return err
}

// taker is what takes events: a store, or what sends them.
type taker interface {
	Append(ctx context.Context, events []model.Event) error
}

// labelled gives events the cluster of this process; nil if nobody takes them.
func labelled(l *config.Loaded, to taker) func(context.Context, []model.Event) error {
	if to == nil {
		return nil
	}
	return func(ctx context.Context, list []model.Event) error {
		for i := range list {
			list[i].Workload.Cluster = l.Cluster
		}
		return to.Append(ctx, list)
	}
}

// eventTaker is nil, and no interface that holds a nil, where events are not sent.
func (s senders) eventTaker() taker {
	if s.events == nil {
		return nil
	}
	return s.events
}
