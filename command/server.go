package command

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/config"
)

const serverHelp = `Stores what agents send ("vetch agent --server URL"), and serves the page and the APIs. It watches nothing itself, and needs no privilege.

On an address that others can reach it needs TLS (--web-config-file) and users, client certificates or tokens (--web-token-file), or --insecure.

SIGINT and SIGTERM end it within 5 seconds with everything written; a second one ends it at once.` + configHelp

func newServer(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Store what agents send, and serve the page and the APIs",
		Long:  serverHelp,
		Example: `  vetch server
  vetch server --listen :4780 --web-config-file /etc/vetch/web.yml --web-token-file /etc/vetch/tokens`,
		Args: noArguments,
	}
	load := settings(p, cmd, "listen", "data_dir", "insecure", "cluster", "node", "metrics.", "events.", "web.", "log.")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		return within(cmd.Context(), stopLimit, func() error { return runServer(cmd.Context(), p, l) })
	}
	return cmd
}

// lateBy is how late samples may come to a server: a day's outage is made up for from the spools of the agents.
const lateBy = 24 * time.Hour

// runServer is runAll without an agent.
func runServer(ctx context.Context, p program, l *config.Loaded) (err error) {
	log, reg := newLog(p, l), newRegistry()
	db, err := openMetrics(l, log, reg, lateBy)
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
	watching.set(gatherers{}) // nothing is watched
	server, services, err := serveStore(l, log, reg, db, happened, &watching)
	if err != nil {
		return err
	}
	own, err := collect(l, log, db, newSelfMetrics(reg, log, "vetch-server"), false)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	printWhere(p, l, server, "stores what agents send", true)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return own.Run(ctx) })
	g.Go(func() error { return services.Run(ctx) })
	g.Go(func() error { return server.Run(ctx) })
	return g.Wait()
}
