package command

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/api"
	"github.com/vetch-dev/vetch/config"
	"github.com/vetch-dev/vetch/kube"
	"github.com/vetch-dev/vetch/kube/state"
	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/transport"
	"github.com/vetch-dev/vetch/transport/names"
)

const watcherHelp = `Reads the Kubernetes API, and feeds the names of pods, services and nodes to agents and the server (docs/formats/names.md). One watches a
cluster; with --watcher-lease others stand by. It keeps in --data-dir what a restart goes on from, watches no machine and needs no privilege there; in the cluster it needs to list and
watch what the guide of the server lists, and to get other owners. It serves /metrics, /-/ready and /-/healthy.

/metrics has the state of objects too (kube_*, as kube-state-metrics names it). With --server all of that also goes there, to a vetch server or any other
receiver of remote write; only the replica that watches sends. A vetch server also gets the events of the cluster.

The feed on an address that others can reach needs TLS, and client certificates or a token, or --insecure.

SIGINT and SIGTERM end it within 5 seconds; a second one ends it at once. It also ends, with 1, when it loses the lease.` + configHelp

func newWatcher(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watcher",
		Short: "Read the Kubernetes API, and tell agents who is who",
		Long:  watcherHelp,
		Example: `  vetch watcher --watcher-kubeconfig ~/.kube/config
  vetch watcher --server https://vetch.example.org:4780 --ship-token-file token --cluster prod
  vetch watcher --watcher-listen :4781 --watcher-cert-file tls.crt --watcher-key-file tls.key --watcher-token-file token --watcher-lease vetch/watcher`,
		Args: noArguments,
	}
	load := settings(p, cmd, "listen", "data_dir", "insecure", "cluster", "node", "server", "ship.", "metrics.interval", "watcher.", "web.", "log.")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		return within(cmd.Context(), stopLimit, func() error { return runWatcher(cmd.Context(), p, l) })
	}
	return cmd
}

func runWatcher(ctx context.Context, p program, l *config.Loaded) error {
	log, reg := newLog(p, l), newRegistry()
	feed := names.NewFeed(names.FeedOptions{Log: log})
	told, err := toldState(l)
	if err != nil {
		return wrongConfig(err)
	}
	var events senders
	if events.events, err = newEventSender(l, log, reg); err != nil {
		return err
	}
	watcher, err := kube.New(kube.Options{
		Log: library(log, l), Kubeconfig: l.Watcher.Kubeconfig, Feed: feed, State: told, Lease: l.Watcher.Lease, UserAgent: "vetch-watcher/" + Version(), Registerer: reg,
		Events: labelled(l, events.eventTaker()), Dir: filepath.Join(l.DataDir, "watcher"), DirBytes: int64(l.Watcher.SnapshotSize),
	})
	if err != nil {
		return errors.Join(wrongConfig(err), events.Close())
	}
	server, err := listen(api.Options{
		Listen: l.Listen, WebConfigFile: l.Web.ConfigFile, TokenFile: l.Web.TokenFile, Insecure: l.Insecure, Log: library(log, l), Registerer: reg,
		Gatherer: prometheus.Gatherers{reg}, Stream: watcher, Ready: watcher.Ready,
	})
	if err != nil {
		return errors.Join(err, watcher.Close(), events.Close())
	}
	w := l.Watcher
	served, err := names.NewServer(names.ServerOptions{
		Feed: feed, Listen: w.Listen, CertFile: w.CertFile, KeyFile: w.KeyFile, ClientCAFile: w.ClientCAFile, TokenFile: w.TokenFile,
	})
	if err != nil {
		return errors.Join(err, server.Close(), watcher.Close(), events.Close())
	}
	ship, err := newWatcherShip(l, log, reg, watcher)
	if err != nil {
		return errors.Join(err, server.Close(), watcher.Close(), events.Close())
	}
	printWhere(p, l, server, "watches the cluster, when no other replica does; names at "+w.Listen, false)
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer stopWatching()
		return errors.Join(watcher.Run(ctx), watcher.Close())
	})
	g.Go(func() error { return ship.run(watching, watcher.Led()) })
	g.Go(func() error { return events.run(watching) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Led():
		}
		if err := served.Listen(); err != nil {
			return err
		}
		return served.Run(ctx)
	})
	g.Go(func() error { return server.Run(ctx) })
	return g.Wait()
}

// toldState is what the series of objects tell; nil where there are to be none.
func toldState(l *config.Loaded) (*state.Options, error) {
	s := l.Watcher.State
	if !s.Enabled {
		return nil, nil
	}
	kept, err := config.ParseKeptTexts(s.Labels)
	if err != nil {
		return nil, err
	}
	annotations, err := config.ParseKeptTexts(s.Annotations)
	return &state.Options{Labels: kept, Annotations: annotations}, err
}

// watcherShip sends what the watcher tells to the server.
type watcherShip struct {
	sender    *transport.Sender // nil: there is no server
	collector *store.Collector
}

// newWatcherShip opens the spool. Series of objects have no label node but their own: another replica that goes on with them must not make new ones.
func newWatcherShip(l *config.Loaded, log *slog.Logger, reg *prometheus.Registry, watcher *kube.Watcher) (*watcherShip, error) {
	if l.Server == "" {
		return &watcherShip{}, nil
	}
	where, err := origin(l)
	if err != nil {
		return nil, err
	}
	sender, err := newSender(l, log, reg)
	if err != nil {
		return nil, err
	}
	own := newSelfMetrics(reg, log, "vetch-watcher")
	own.node = where.Get("node")
	collector, err := collectOf(l, log, sender, gatherers{watcher, own}, true, labels.FromStrings("cluster", l.Cluster))
	if err != nil {
		return nil, errors.Join(err, sender.Close())
	}
	return &watcherShip{sender, collector}, nil
}

// run sends from when this replica begins to watch until ctx ends, and the rest after that. One that stands by sends nothing.
func (s *watcherShip) run(ctx context.Context, led <-chan struct{}) error {
	if s.sender == nil {
		return nil
	}
	select {
	case <-led:
	case <-ctx.Done():
		return s.sender.Close()
	}
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	g.Go(func() error {
		defer stopSending() // after the last samples
		return s.collector.Run(ctx)
	})
	g.Go(func() error { return s.sender.Run(sending) })
	return g.Wait()
}
