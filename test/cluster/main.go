// Command cluster runs a real Kubernetes cluster of two nodes on this machine, and proves vetch on it.
//
// Each node has namespaces and a cgroup of its own; etcd, the control plane, containerd, kubelet, kube-proxy and CNI are the real ones,
// compiled from Go modules or installed from Debian. No Docker, no virtual machine, no registry. It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

const usage = `usage: go run ./test/cluster [flags] COMMAND
  build [PROGRAM...]        build what a cluster needs, and these: %v
  up                        start a cluster that stays
  down                      end it, and what a crash left of it
  load FILE...              import images into its nodes
  exec NODE COMMAND...      run a command of this machine inside a node ("cp": in the network of the control plane)
  kill-node NODE            cut a node off, like a power failure
  start-node NODE           boot it again
  kubectl ARGUMENTS...      kubectl of the cluster
  chart                     check the Helm chart, without a cluster
  manifests                 write deploy/vetch.yaml
  test                      bring a cluster up (or use the one that is), check vetch on it, take it down
  scale                     simulate nodes and pods by kwok, and measure the watcher and its feed of names
flags:
`

// settings are what the flags say.
type settings struct {
	state   string
	cache   string
	proxy   string
	run     string
	keep    bool
	reuse   bool
	verbose bool
	scaling scaling
}

func main() {
	if len(os.Args) > 1 && inside[os.Args[1]] != nil {
		if err := inside[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, os.Args[1]+":", err)
			os.Exit(1)
		}
		return
	}
	var s settings
	flag.StringVar(&s.cache, "cache", filepath.Join(".cache", "cluster"), "folder that keeps programs and images between runs")
	flag.StringVar(&s.state, "state", "", "folder of the cluster, one for each that runs at once (default CACHE/state)")
	flag.StringVar(&s.proxy, "proxy-mode", "nftables", "of kube-proxy: nftables or iptables")
	flag.StringVar(&s.run, "run", "", "only checks whose name matches")
	flag.BoolVar(&s.reuse, "reuse", false, "test: take the images that the last run made")
	flag.BoolVar(&s.keep, "keep", false, "test, scale: leave the cluster up")
	flag.IntVar(&s.scaling.nodes, "nodes", 200, "scale: simulated nodes")
	flag.IntVar(&s.scaling.pods, "pods", 4000, "scale: simulated pods")
	flag.IntVar(&s.scaling.churn, "churn", 20, "scale: pods replaced in a second")
	flag.DurationVar(&s.scaling.length, "for", 3*time.Minute, "scale: how long pods are replaced")
	flag.StringVar(&s.scaling.out, "o", "", "scale: page that gets the figures, between its markers")
	flag.BoolVar(&s.verbose, "v", false, "print each command")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), usage, programNames())
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, s, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		stop()
		os.Exit(1)
	}
}

// inside are the commands that the cluster's own processes are made of; they are no part of the usage.
var inside = map[string]func([]string) error{"node-init": nodeInit, "relay": relay}

func command(ctx context.Context, s settings, args []string) error {
	if len(args) == 0 {
		flag.Usage()
		return errors.New("no command")
	}
	if _, err := regexp.Compile(s.run); err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if args[0] == "scale" && s.state == "" { // beside a cluster that is up
		s.state = filepath.Join(s.cache, "scale")
	}
	c, err := newCluster(s)
	if err != nil {
		return err
	}
	verb, args := args[0], args[1:]
	if !slices.Contains([]string{"exec", "kill-node", "start-node", "load"}, verb) || len(args) > 0 {
		switch verb {
		case "build":
			return c.build(ctx, append(needed(), args...)...)
		case "up":
			return errors.Join(c.build(ctx, needed()...), c.up(ctx))
		case "down":
			return c.down()
		case "load":
			return c.load(ctx, args...)
		case "exec":
			return c.exec(ctx, args[0], args[1:])
		case "kill-node":
			return c.killNode(args[0])
		case "start-node":
			return c.bootNode(args[0])
		case "kubectl":
			return c.passThrough(ctx, c.program("kubectl"), args...)
		case "chart":
			return c.checkChart(ctx)
		case "manifests":
			return c.writeManifests(ctx)
		case "test":
			return c.test(ctx)
		case "scale":
			return c.scale(ctx, s.scaling)
		}
	}
	flag.Usage()
	return fmt.Errorf("unknown command, or one without its argument: %q", verb)
}
