package command

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/agent"
	"github.com/vetch-dev/vetch/agent/digest"
	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/config"
)

const agentHelp = `Loads the kernel programs and serves what they count on /metrics (with /-/ready and /-/healthy), for a Prometheus that scrapes it. It stores
nothing. It must be root, or have the capabilities that "vetch doctor" lists.

SIGINT and SIGTERM end it within 5 seconds; a second one ends it at once.` + configHelp

func newAgent(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "agent",
		Short:   "Watch this machine, and only serve /metrics",
		Long:    agentHelp,
		Example: "  sudo vetch agent\n  sudo vetch agent --listen :4780 --web-config-file /etc/vetch/web.yml",
		Args:    noArguments,
	}
	load := settings(p, cmd, "listen", "insecure", "agent.", "web.", "log.")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		if err := needPrivilege(cmd.CommandPath()); err != nil {
			return err
		}
		return within(cmd.Context(), stopLimit, func() error { return runAgent(cmd.Context(), p, l) })
	}
	return cmd
}

func runAgent(ctx context.Context, p program, l *config.Loaded) error {
	log, reg := newLog(p, l), newRegistry()
	var watching lateGatherer
	server, err := listen(serving(l, log, reg, &watching))
	if err != nil {
		return err
	}
	a, err := watch(l, log, reg)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	watching.set(a)
	printWhere(p, l, server, false)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.Run(ctx) })
	g.Go(func() error { return server.Run(ctx) })
	return g.Wait()
}

// watch loads and attaches the kernel programs. What the kernel refuses is a missing privilege or feature.
func watch(l *config.Loaded, log *slog.Logger, reg prometheus.Registerer) (*agent.Agent, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	ignored := make([]digest.IgnoreRule, len(l.Agent.IgnoreRequests))
	for i, text := range l.Agent.IgnoreRequests {
		rule, err := config.ParseRequestRule(text)
		if err != nil {
			return nil, err
		}
		ignored[i] = digest.IgnoreRule{Name: rule.Name, Match: rule.Match}
	}
	a, err := agent.New(agent.Options{
		Log: log,
		Probe: probe.Options{
			Log: log, Hook: l.Agent.Hook, IgnoreCgroups: l.Agent.IgnoreCgroups, PollInterval: l.Agent.PollInterval,
			NoUprobes: !l.Agent.TLS.Enabled,
		},
		NoTLS:             !l.Agent.TLS.Enabled,
		IgnoreRequests:    ignored,
		RoutesPerWorkload: l.Agent.RoutesPerWorkload,
		SeriesExpiry:      l.Agent.SeriesExpiry,
		Hostname:          hostname,
		Version:           Version(),
		Registerer:        reg,
	})
	if errors.Is(err, probe.ErrNotPermitted) || errors.Is(err, probe.ErrUnsupported) {
		return nil, missing(err)
	}
	return a, err
}
