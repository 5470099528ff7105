package command

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/agent"
	"github.com/vetch-dev/vetch/agent/digest"
	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/config"
	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/transport/kubelet"
	"github.com/vetch-dev/vetch/transport/names"
)

const agentHelp = `Loads the kernel programs and serves what they count on /metrics (with /-/ready and /-/healthy), for a Prometheus that scrapes it. With
--server it also sends all of it there, to a vetch server or any other receiver of remote write; what that does not take now waits in the data directory.
It must be root, or have the capabilities that "vetch doctor" lists. With --agent-tracer-source it loads no kernel programs, and reads another network
tracer in their place.

SIGINT and SIGTERM end it within 5 seconds; a second one ends it at once.` + configHelp

func newAgent(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Watch this machine, serve /metrics, and send to a server",
		Long:  agentHelp,
		Example: `  sudo vetch agent
  sudo vetch agent --server https://vetch.example.org:4780 --ship-ca-file /etc/vetch/ca.pem --ship-token-file /etc/vetch/token
  sudo vetch agent --listen :4780 --web-config-file /etc/vetch/web.yml`,
		Args: noArguments,
	}
	load := settings(p, cmd, "listen", "data_dir", "insecure", "cluster", "node", "server", "ship.", "metrics.interval", "agent.", "web.", "log.")
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
	to, err := newSenders(l, log, reg)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	a, err := watch(l, log, reg, to.eventTaker())
	if err != nil {
		return errors.Join(err, server.Close(), to.Close())
	}
	watching.set(a)
	var collector *store.Collector
	if to.metrics != nil {
		if collector, err = collect(l, log, to.metrics, gatherers{a, newSelfMetrics(reg, log, "vetch-agent")}, true); err != nil {
			return errors.Join(err, a.Close(), server.Close(), to.Close())
		}
	}
	printWhere(p, l, server, watches(l), false)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Run(ctx) })
	if collector == nil {
		g.Go(func() error { return a.Run(ctx) })
		return g.Wait()
	}
	collecting, stopCollecting := context.WithCancel(context.WithoutCancel(ctx))
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error {
		defer stopCollecting() // after the agent's last reading
		return a.Run(ctx)
	})
	g.Go(func() error {
		defer stopSending() // after the last samples
		return collector.Run(collecting)
	})
	g.Go(func() error { return to.run(sending) })
	return g.Wait()
}

// watches says what an agent does.
func watches(l *config.Loaded) string {
	if source := l.Agent.Tracer.Source; source != "" {
		return "reads the network tracer at " + source
	}
	return "watches this machine"
}

// watch loads and attaches the kernel programs. What the kernel refuses is a missing privilege or feature. happened takes events; nil: there are none.
func watch(l *config.Loaded, log *slog.Logger, reg prometheus.Registerer, happened taker) (*agent.Agent, error) {
	ignored := make([]digest.IgnoreRule, len(l.Agent.IgnoreRequests))
	for i, text := range l.Agent.IgnoreRequests {
		rule, err := config.ParseRequestRule(text)
		if err != nil {
			return nil, err
		}
		ignored[i] = digest.IgnoreRule{Name: rule.Name, Match: rule.Match}
	}
	o := agent.Options{
		Log: log,
		Probe: probe.Options{
			Log: log, Hook: l.Agent.Hook, IgnoreCgroups: l.Agent.IgnoreCgroups, PollInterval: l.Agent.PollInterval,
			NoUprobes: !l.Agent.TLS.Enabled,
		},
		NoTLS:             !l.Agent.TLS.Enabled,
		Java:              l.Agent.TLS.Java,
		IgnoreRequests:    ignored,
		RoutesPerWorkload: l.Agent.RoutesPerWorkload,
		SeriesExpiry:      l.Agent.SeriesExpiry,
		Node:              l.Node,
		Names: agent.NamesOptions{URL: l.Agent.Names.URL, Credentials: names.Credentials{
			CAFile: l.Agent.Names.CAFile, CertFile: l.Agent.Names.CertFile, KeyFile: l.Agent.Names.KeyFile, TokenFile: l.Agent.Names.TokenFile,
		}},
		Kubelet:    kubelet.Options(l.Agent.Kubelet),
		Tracer:     agent.TracerOptions{Listen: l.Agent.Tracer.Listen, Source: l.Agent.Tracer.Source},
		Version:    Version(),
		Registerer: reg,
		Events:     labelled(l, happened),
	}
	a, err := agent.New(o)
	if errors.Is(err, probe.ErrNotPermitted) || errors.Is(err, probe.ErrUnsupported) {
		return nil, missing(err)
	}
	return a, err
}
