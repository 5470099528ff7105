package command

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/api"
	"github.com/vetch-dev/vetch/config"
	"github.com/vetch-dev/vetch/query/metricquery"
	"github.com/vetch-dev/vetch/servicemap"
	"github.com/vetch-dev/vetch/servicemap/inventory"
	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/store/columnar"
	"github.com/vetch-dev/vetch/store/events"
	"github.com/vetch-dev/vetch/store/metrics"
	"github.com/vetch-dev/vetch/transport"
	"github.com/vetch-dev/vetch/web"
)

const runHelp = `Loads the kernel programs, stores what they count, and serves the page, the APIs and /metrics, all in this process. It must be root, or have
the capabilities that "vetch doctor" lists.

SIGINT and SIGTERM end it within 5 seconds with everything written; a second one ends it at once.` + configHelp

func newRun(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Watch this machine, and serve the page, the APIs and /metrics",
		Long:  runHelp,
		Example: `  sudo vetch run
  sudo vetch run --listen 127.0.0.1:5000 --data-dir /srv/vetch --metrics-retention-age 30d
  sudo vetch run --listen :4780 --web-config-file /etc/vetch/web.yml`,
		Args: noArguments,
	}
	load := settings(p, cmd, "listen", "data_dir", "insecure", "cluster", "node", "metrics.", "events.", "agent.", "web.", "log.")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		if l.Agent.Tracer.Source == "" { // nothing else loads kernel programs
			if err := needPrivilege(cmd.CommandPath()); err != nil {
				return err
			}
		}
		return within(cmd.Context(), stopLimit, func() error { return runAll(cmd.Context(), p, l) })
	}
	return cmd
}

// runAll is the embedded wiring: every part in one process. Parts stop in the order in which data flows, so that the last counts are stored.
func runAll(ctx context.Context, p program, l *config.Loaded) (err error) {
	log, reg := newLog(p, l), newRegistry()
	db, err := openMetrics(l, log, reg, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	happened, err := openEvents(ctx, l, log, reg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, happened.Close()) }()
	var watching lateGatherer
	server, services, err := serveStore(l, log, reg, db, happened, &watching)
	if err != nil {
		return err
	}
	a, err := watch(l, log, reg, happened)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	watching.set(a)
	collector, err := collect(l, log, db, gatherers{a, newSelfMetrics(reg, log, "vetch-run")}, false)
	if err != nil {
		return errors.Join(err, a.Close(), server.Close())
	}
	printWhere(p, l, server, watches(l), true)

	collecting, stopCollecting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopCollecting()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer stopCollecting() // after the agent's last reading
		return a.Run(ctx)
	})
	g.Go(func() error { return collector.Run(collecting) })
	g.Go(func() error { return services.Run(ctx) })
	g.Go(func() error { return server.Run(ctx) })
	return g.Wait()
}

// openMetrics opens the metric store; late is how late samples may come, 0 what the store takes by itself.
func openMetrics(l *config.Loaded, log *slog.Logger, reg prometheus.Registerer, late time.Duration) (*metrics.DB, error) {
	return metrics.Open(metrics.Options{
		Dir: filepath.Join(l.DataDir, "metrics"), RetentionAge: l.Metrics.RetentionAge, RetentionBytes: int64(l.Metrics.RetentionSize),
		OutOfOrder: late, Log: library(log, l), Registerer: reg,
	})
}

// openEvents opens the store of events, unless the context ends before.
func openEvents(ctx context.Context, l *config.Loaded, log *slog.Logger, reg prometheus.Registerer) (*events.Embedded, error) {
	return events.OpenContext(ctx, columnar.Options{
		Dir: filepath.Join(l.DataDir, "events"), RetentionAge: l.Events.RetentionAge, RetentionBytes: int64(l.Events.RetentionSize),
		Log: library(log, l), Registerer: reg,
	})
}

// serveStore takes the port for everything that is answered from the stores: PromQL, the map, events, remote write, OTLP, the page.
func serveStore(l *config.Loaded, log *slog.Logger, reg *prometheus.Registry, db *metrics.DB, happened store.Events, watching *lateGatherer) (*api.Server, *servicemap.Service, error) {
	engine, err := metricquery.New(metricquery.Options{
		DB: db, Log: log, Registerer: reg, Version: Version(), Config: func() string { return asYAML(l) }, Flags: flagValues(&l.Config),
	})
	if err != nil {
		return nil, nil, err
	}
	services, err := servicemap.New(servicemap.Options{
		Engine: engine, Cluster: l.Cluster, PositionsFile: filepath.Join(l.DataDir, "positions.json"), Log: log, Registerer: reg,
	})
	if err != nil {
		return nil, nil, err
	}
	things, err := inventory.New(services)
	if err != nil {
		return nil, nil, err
	}
	write, err := transport.NewRemoteWrite(transport.Options{Store: db, Log: log, Registerer: reg})
	if err != nil {
		return nil, nil, err
	}
	logs, err := transport.NewOTLPLogs(transport.OTLPOptions{Store: happened, Log: log, Registerer: reg})
	if err != nil {
		return nil, nil, err
	}
	o := serving(l, log, reg, watching)
	o.Query, o.Write, o.Map, o.Inventory, o.Web = engine, write, api.MapHandler(services), api.InventoryHandler(things), web.Handler()
	o.Logs, o.Events = logs, api.EventsHandler(happened, l.Cluster)
	o.Status = (&status{reg: reg, agent: watching, db: db, home: l.Cluster}).read
	server, err := listen(o)
	return server, services, err
}
