// Package agent watches one machine: it joins the kernel probe, the names of processes and the digest of what they do into one Run.
package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/agent/digest"
	"github.com/vetch-dev/vetch/agent/exits"
	"github.com/vetch-dev/vetch/agent/host"
	"github.com/vetch-dev/vetch/agent/java"
	"github.com/vetch-dev/vetch/agent/names"
	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/agent/tls"
	"github.com/vetch-dev/vetch/agent/tracer"
	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/kubelet"
	clusternames "github.com/vetch-dev/vetch/transport/names"
)

// Options say how to watch. The zero value is usable.
type Options struct {
	Log               *slog.Logger // nil: nothing is logged
	Probe             probe.Options
	IgnoreRequests    []digest.IgnoreRule
	RoutesPerWorkload int             // 0: digest.DefaultRoutesPerWorkload
	SeriesExpiry      time.Duration   // 0: digest.DefaultSeriesExpiry
	NoTLS             bool            // leave programs and libraries that do TLS alone
	Java              []string        // which JVMs are looked into: java.Options.Chosen
	Hostname          string          // "": the machine's own
	Node              string          // the machine's name in a cluster; "": Hostname
	Names             NamesOptions    // the names of a cluster; the zero value: none
	Kubelet           kubelet.Options // of this node; without an address none is asked
	Tracer            TracerOptions
	Version           string
	Registerer        prometheus.Registerer // for the agent's own cost; nil: not exported
	// Events stores what happened to processes, all or none. nil: that is not watched.
	Events func(context.Context, []model.Event) error
}

// NamesOptions say where the names of a cluster come from.
type NamesOptions struct {
	URL         string // of the feed that "vetch watcher" serves; "": there is none
	Credentials clusternames.Credentials
}

// TracerOptions are the sockets by which vetch takes the places of other network tracers and of their readers. Empty paths are not used.
type TracerOptions struct {
	Listen string // where what the probe counts is served
	// Source is of the tracer that is read in place of the probe: no kernel programs are loaded, and what needs them is not seen.
	Source string
}

// reader is where readings of connections come from: the probe, or another tracer.
type reader interface {
	// Run gives each reading to snapshot, on one goroutine, until ctx ends; then a last one.
	Run(ctx context.Context, snapshot func(probe.Snapshot)) error
	Stats() probe.Stats
	Close() error
}

// Agent is a machine under watch. Its metrics are those of a model.Gatherer.
type Agent struct {
	log     *slog.Logger
	reader  reader
	probe   *probe.Probe // the reader; nil: that is another tracer
	digest  *digest.Digest
	host    *host.Meter
	streams *streams
	tls     *tls.Watcher         // nil: TLS is not looked into
	feed    *clusternames.Client // nil: there are no names of a cluster
	book    *process.Book
	exits   *exits.Watcher // nil: nobody wants events
	java    *java.Attacher // nil: no JVM is looked into
	tracer  *tracer.Server // nil: nobody reads connections
	busy    prometheus.Counter
}

// Agent is what the stores collect from.
var _ model.Gatherer = (*Agent)(nil)

// New loads the kernel programs, unless Tracer.Source is set, and begins to count. Errors of the probe come through wrapped: probe.ErrNotPermitted, probe.ErrUnsupported.
func New(o Options) (*Agent, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Probe.Log == nil {
		o.Probe.Log = o.Log
	}
	machine, err := process.FindHost()
	if err != nil {
		return nil, err
	}
	if o.Hostname == "" {
		o.Hostname = machine.Name
	}
	if o.Node == "" {
		o.Node = o.Hostname
	}
	o.Probe.PIDNamespace, o.Probe.OnlyBelow = machine.PIDNamespace, machine.Nested
	outside := names.New()
	a := &Agent{log: o.Log, streams: newStreams(o.Log, outside), busy: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "vetch_agent_digest_seconds_total", Help: "Wall time spent naming and joining what the probe read.",
	})}
	if o.Registerer != nil {
		if err := o.Registerer.Register(a.busy); err != nil {
			return nil, fmt.Errorf("register the agent's metrics: %w", err)
		}
		if err := a.streams.register(o.Registerer); err != nil {
			return nil, err
		}
	}
	o.Probe.Records, o.Probe.Words = true, matchedWords(a.streams.streams.Operations)
	cluster, err := a.followCluster(o)
	if err != nil {
		return nil, err
	}
	book, err := process.New(process.Options{Log: o.Log, Root: machine.Root, Hostname: o.Node, Names: outside, Cluster: cluster})
	if err != nil {
		return nil, fmt.Errorf("start naming processes: %w", err)
	}
	a.book = book
	if err := a.watchExits(&o); err != nil {
		return nil, err
	}
	if err := a.openReader(o, machine.Root); err != nil {
		return nil, err
	}
	described := process.ReadMachine(machine.Root, o.Hostname)
	var asked *kubelet.Client
	if o.Kubelet.Address != "" {
		if asked, err = kubelet.NewClient(o.Kubelet); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	a.host, err = host.New(host.Options{
		Log: o.Log, Root: machine.Root, Namer: book.Namer(), Machine: described, SeriesExpiry: o.SeriesExpiry, Nested: machine.Nested,
		Kills: a.exits != nil, Delays: true, Kubelet: asked,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare to measure the machine: %w", err), a.Close())
	}
	a.digest, err = digest.New(digest.Options{
		Log: o.Log, Book: book, Names: outside, Machine: described, Version: o.Version, ProbeStats: a.reader.Stats,
		IgnoreRequests: o.IgnoreRequests, RoutesPerWorkload: o.RoutesPerWorkload, SeriesExpiry: o.SeriesExpiry,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the digest: %w", err), a.Close())
	}
	if err = a.watchTLS(o); err != nil {
		return nil, errors.Join(fmt.Errorf("look for TLS: %w", err), a.Close())
	}
	return a, nil
}

// openReader loads the probe, or prepares to read another tracer in its place; and takes the socket where what is read is served.
func (a *Agent) openReader(o Options, root string) (err error) {
	if o.Tracer.Source != "" {
		a.reader, err = tracer.NewSource(tracer.SourceOptions{Log: o.Log, Path: o.Tracer.Source, Root: root, Registerer: o.Registerer})
		return err
	}
	if o.Tracer.Listen != "" {
		a.tracer, err = tracer.Listen(tracer.ServerOptions{Log: o.Log, Path: o.Tracer.Listen, Version: o.Version, Registerer: o.Registerer})
		if err != nil {
			return err
		}
	}
	if a.probe, err = probe.New(o.Probe); err != nil {
		err = fmt.Errorf("start the probe: %w", err)
		if a.tracer != nil {
			err = errors.Join(err, a.tracer.Close())
		}
		return err
	}
	a.reader = a.probe
	a.streams.streams.Match = a.probe.Matches()
	return nil
}

// followCluster prepares to hear the names of a cluster; nil where there are none.
func (a *Agent) followCluster(o Options) (*process.Cluster, error) {
	if o.Names.URL == "" {
		return nil, nil
	}
	cluster := process.NewCluster(o.Node)
	var err error
	a.feed, err = clusternames.NewClient(clusternames.ClientOptions{
		Log: o.Log, URL: o.Names.URL, Credentials: o.Names.Credentials, Node: o.Node, Receiver: cluster, Registerer: o.Registerer,
	})
	if err != nil {
		return nil, fmt.Errorf("follow the names of the cluster: %w", err)
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(cluster.Collector()); err != nil {
			return nil, fmt.Errorf("register the cluster's metrics: %w", err)
		}
	}
	return cluster, nil
}

// watchExits makes the probe watch for ends of processes, where somebody wants events.
func (a *Agent) watchExits(o *Options) (err error) {
	if o.Events == nil || o.Tracer.Source != "" {
		return nil
	}
	o.Probe.Exits = true
	oldest := func() map[string]time.Duration { return a.host.Oldest() } // it is made later
	if a.exits, err = exits.New(exits.Options{
		Log: o.Log, Node: cmp.Or(o.Node, o.Hostname), Store: o.Events, Ended: a.ended, Oldest: oldest, Registerer: o.Registerer,
	}); err != nil {
		return fmt.Errorf("watch for ends of processes: %w", err)
	}
	return nil
}

// ended counts the end of a process among what its container did.
func (a *Agent) ended(id process.Identity, e probe.Exit) {
	if e.NoMemory {
		a.host.Killed(id)
	}
	if e.First {
		a.host.Ended(id, e.Started, e.Ended)
	}
}

// watchTLS begins to look into TLS, where that is wanted and the kernel can.
func (a *Agent) watchTLS(o Options) error {
	if o.NoTLS || a.probe == nil || !a.probe.CanAttach() {
		return nil
	}
	attach := func(path string, points []tls.Point) (io.Closer, error) {
		list := make([]probe.Point, len(points))
		for i, p := range points {
			list[i] = probe.Point(p)
		}
		return a.probe.AttachPoints(path, list)
	}
	options := tls.Options{Log: o.Log, IgnoreCgroups: o.Probe.IgnoreCgroups, Unseen: a.probe.UnseenTLS, Attach: attach}
	if len(o.Java) > 0 {
		names := a.book.Namer()
		a.java = java.New(java.Options{
			Log: o.Log, Chosen: o.Java, Workload: func(pid uint32) string { return names.Name(pid).Name },
			Attach: attach, See: a.probe.SeeJava, Forget: a.probe.ForgetJava, Off: a.probe.JavaOff,
		})
		options.JVM = a.java.Saw
	}
	var err error
	a.tls, err = tls.New(options)
	if err == nil && o.Registerer != nil {
		err = o.Registerer.Register(a.tls.Collector())
		if err == nil && a.java != nil {
			err = o.Registerer.Register(a.java.Collector())
		}
	}
	return err
}

// Run reads the probe until ctx ends, and then unloads the kernel programs. What was counted can be gathered before, meanwhile and after;
// what was held back is there at the latest when Run returns.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	records, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error {
		defer stop() // the ring is read until the last snapshot is taken
		return a.reader.Run(ctx, a.take)
	})
	g.Go(func() error { return a.host.Run(ctx) })
	if a.probe != nil {
		g.Go(func() error { return a.streams.run(records, a.probe) })
	}
	if a.tracer != nil {
		g.Go(func() error { return a.tracer.Run(ctx) })
	}
	if a.tls != nil {
		g.Go(func() error { return a.tls.Run(ctx) })
	}
	if a.feed != nil {
		g.Go(func() error { return a.feed.Run(ctx) })
	}
	if a.exits != nil {
		g.Go(func() error { return a.probe.ReadExits(ctx, a.exits.Take) })
		g.Go(func() error { return a.exits.Run(records) }) // until the last have their names
	}
	if a.java != nil {
		g.Go(func() error { return a.java.Run(ctx) })
	}
	err := g.Wait()
	a.digest.Flush(time.Now())
	if err != nil {
		err = fmt.Errorf("read the probe: %w", err)
	}
	return errors.Join(err, a.Close())
}

// take counts what a reading says.
func (a *Agent) take(s probe.Snapshot) {
	start := time.Now()
	if a.probe != nil {
		a.streams.add(&s, a.probe.PairKey, a.probe.AddOwner)
	}
	if a.exits != nil {
		a.exits.Owners(func(id probe.OwnerID) { a.probe.AddOwner(&s, id) })
	}
	a.digest.Apply(s)
	if a.probe != nil {
		a.tellAddresses()
	}
	if a.tracer != nil {
		a.tracer.Apply(&s, a.book.OwnAddresses())
	}
	if a.exits != nil {
		a.exits.Name(a.book.Identity)
	}
	a.busy.Add(time.Since(start).Seconds())
}

// tellAddresses has the kernel know which addresses are the machine's own.
func (a *Agent) tellAddresses() {
	if err := a.probe.SetOwnAddresses(a.book.OwnAddresses()); err != nil {
		a.log.Warn("clients that come through this machine by address translation may go by its name", "err", err)
	}
}

// Gather hands out the present value of all series, family by family.
func (a *Agent) Gather(emit func(model.Sample)) {
	a.digest.Gather(emit)
	a.host.Gather(emit)
}

// Status says how the agent is doing.
type Status struct {
	Digest digest.Status
	Probe  probe.Stats
}

// Status asks the kernel for the probe's figures.
func (a *Agent) Status() Status { return Status{Digest: a.digest.Status(), Probe: a.reader.Stats()} }

// Close unloads the kernel programs, for an agent that is not run. Closing twice is harmless.
func (a *Agent) Close() error {
	var errs []error
	if a.java != nil {
		if err := a.java.Close(); err != nil {
			errs = append(errs, fmt.Errorf("stop looking into JVMs: %w", err))
		}
	}
	if a.tls != nil {
		if err := a.tls.Close(); err != nil {
			errs = append(errs, fmt.Errorf("stop looking into TLS: %w", err))
		}
	}
	if a.tracer != nil {
		if err := a.tracer.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close the tracer's socket: %w", err))
		}
	}
	if err := a.reader.Close(); err != nil {
		errs = append(errs, fmt.Errorf("unload the kernel programs: %w", err))
	}
	return errors.Join(errs...)
}
