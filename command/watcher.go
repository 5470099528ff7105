package command

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/api"
	"github.com/vetch-dev/vetch/config"
	"github.com/vetch-dev/vetch/kube"
	"github.com/vetch-dev/vetch/transport/names"
)

const watcherHelp = `Reads the Kubernetes API, and feeds the names of pods, services and nodes to agents and the server (docs/formats/names.md). One watches a
cluster; with --watcher-lease others stand by. It stores nothing, watches no machine and needs no privilege there; in the cluster it needs to list and
watch pods, nodes, services, endpointslices and what may own pods, and to get other owners. It serves /metrics, /-/ready and /-/healthy.

The feed on an address that others can reach needs TLS, and client certificates or a token, or --insecure.

SIGINT and SIGTERM end it within 5 seconds; a second one ends it at once. It also ends, with 1, when it loses the lease.` + configHelp

func newWatcher(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watcher",
		Short: "Read the Kubernetes API, and tell agents who is who",
		Long:  watcherHelp,
		Example: `  vetch watcher --watcher-kubeconfig ~/.kube/config
  vetch watcher --watcher-listen :4781 --watcher-cert-file tls.crt --watcher-key-file tls.key --watcher-token-file token --watcher-lease vetch/watcher`,
		Args: noArguments,
	}
	load := settings(p, cmd, "listen", "insecure", "watcher.", "web.", "log.")
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
	watcher, err := kube.New(kube.Options{
		Log: library(log, l), Kubeconfig: l.Watcher.Kubeconfig, Feed: feed, Lease: l.Watcher.Lease, UserAgent: "vetch-watcher/" + Version(), Registerer: reg,
	})
	if err != nil {
		return wrongConfig(err)
	}
	server, err := listen(api.Options{
		Listen: l.Listen, WebConfigFile: l.Web.ConfigFile, TokenFile: l.Web.TokenFile, Insecure: l.Insecure, Log: library(log, l), Registerer: reg,
		Gatherer: prometheus.Gatherers{reg}, Ready: watcher.Ready,
	})
	if err != nil {
		return err
	}
	w := l.Watcher
	served, err := names.NewServer(names.ServerOptions{
		Feed: feed, Listen: w.Listen, CertFile: w.CertFile, KeyFile: w.KeyFile, ClientCAFile: w.ClientCAFile, TokenFile: w.TokenFile,
	})
	if err != nil {
		return errors.Join(err, server.Close())
	}
	printWhere(p, l, server, "watches the cluster, when no other replica does; names at "+w.Listen, false)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return watcher.Run(ctx) })
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
