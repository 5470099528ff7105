// Package kube is the watcher: the only reader of the Kubernetes API in a cluster, and the only importer of client-go. It feeds the names of pods,
// services and nodes to everybody else, and tells the state of all objects as series.
package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/vetch-dev/vetch/kube/snapshot"
	"github.com/vetch-dev/vetch/kube/state"
	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/transport/names"
)

const sweepEvery = 5 * time.Second

// Options of a Watcher. Feed is needed.
type Options struct {
	Log        *slog.Logger
	Kubeconfig string         // ""; that of the pod that it runs in, else what kubectl would use
	Feed       *names.Feed    // gets all names
	State      *state.Options // what the series of objects tell; nil: there are none
	// Events takes what happens in the cluster, all or none; it must not wait. What this replica sees again after a start has the same ID. nil: nothing is told.
	Events     func(context.Context, []model.Event) error
	Lease      string // "namespace/name" of the Lease that one replica holds; "": there is only one replica
	Identity   string // of this replica, no other's; "": the host name and something random, and after a restart on the same host that of before, where there is Dir
	Dir        string // keeps what a restart goes on from; "": it lists everything
	DirBytes   int64  // how much of that there may be
	UserAgent  string
	Registerer prometheus.Registerer // nil: not exported
}

// Watcher follows a cluster and tells its names.
type Watcher struct {
	options Options
	log     *slog.Logger
	api     *api
	cluster *cluster
	saved   *snapshot.Directory // nil: nothing is kept for a restart
	leading atomic.Bool
	standby atomic.Bool   // another replica is known to watch
	led     chan struct{} // closed when this one begins to
}

// ErrLeaseLost says that another replica may watch now, so this one must not go on.
var ErrLeaseLost = errors.New("the lease was lost")

// Why a replica is not ready.
var errWaiting = errors.New("it is not known yet which replica watches the cluster")
var errListing = errors.New("the cluster is being listed")

// New reads the credentials; it does not ask the API yet.
func New(o Options) (*Watcher, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Feed == nil {
		return nil, errors.New("the watcher needs a feed")
	}
	if o.Lease != "" && strings.Count(o.Lease, "/") != 1 {
		return nil, fmt.Errorf("the lease must be namespace/name, not %q", o.Lease)
	}
	if err := o.State.Check(); err != nil {
		return nil, err
	}
	klog.SetSlogLogger(o.Log) // client-go logs there and nowhere else
	w := &Watcher{options: o, log: o.Log, cluster: newCluster(o.Feed, o.State, o.Events), led: make(chan struct{})}
	var err error
	if w.api, err = newAPI(o, w.cluster.requests); err != nil {
		return nil, err
	}
	if o.Registerer != nil {
		if err := w.register(o.Registerer); err != nil {
			return nil, fmt.Errorf("register the watcher's metrics: %w", err)
		}
	}
	w.openSaved()
	if err := w.identify(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// openSaved opens what a restart goes on from. Without it a start lists, so nothing else depends on it.
func (w *Watcher) openSaved() {
	o := &w.options
	if o.Dir == "" || o.DirBytes <= 0 {
		return
	}
	var err error
	w.saved, err = snapshot.Open(snapshot.Options{Dir: o.Dir, Cluster: w.api.fingerprint(), MaxBytes: o.DirBytes, Log: w.log, Registerer: o.Registerer})
	if err != nil {
		w.log.Warn("a restart will list the cluster anew: nothing can be kept for it", "dir", o.Dir, "err", err)
	}
}

// identify names this replica. Two on one machine must not take each other's lease for their own; one that was restarted may take its own at once.
func (w *Watcher) identify() error {
	if w.options.Identity != "" {
		return nil
	}
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read host name: %w", err)
	}
	random := rand.Text()[:8]
	w.options.Identity = name + "_" + random
	if w.saved != nil {
		w.options.Identity = w.saved.Identity(name, random)
	}
	return nil
}

// Close writes what a restart goes on from, and lets go of the directory. Run must have ended.
func (w *Watcher) Close() error {
	if w.saved == nil {
		return nil
	}
	return w.saved.Close()
}

// Run waits for the lease, where there is one, and follows the cluster until ctx ends or the lease is lost (ErrLeaseLost).
func (w *Watcher) Run(ctx context.Context) error {
	if w.options.Lease == "" {
		return w.follow(ctx)
	}
	return w.lead(ctx)
}

// follow watches all kinds.
func (w *Watcher) follow(ctx context.Context) error {
	w.standby.Store(false)
	w.leading.Store(true)
	w.cluster.leading.Set(1)
	close(w.led)
	defer func() {
		w.leading.Store(false)
		w.cluster.leading.Set(0)
	}()
	g, ctx := errgroup.WithContext(ctx)
	for k := range w.cluster.kinds {
		lw, err := w.api.listWatch(k)
		if err != nil {
			return err
		}
		var saved *snapshot.Resource
		if w.saved != nil {
			saved = w.saved.Resource(k.resource.Resource, k.form())
		}
		g.Go(func() error {
			newSource(k, w.cluster, w.log, saved).run(ctx, lw)
			return nil
		})
	}
	g.Go(func() error {
		w.api.finder().run(ctx, w.cluster)
		return nil
	})
	if w.cluster.teller != nil {
		g.Go(func() error {
			w.cluster.teller.run(ctx)
			return nil
		})
	}
	every := func(interval time.Duration, do func()) {
		g.Go(func() error {
			tick := time.NewTicker(interval)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-tick.C:
					do()
				}
			}
		})
	}
	every(sweepEvery, func() {
		w.cluster.sweep()
		if w.cluster.teller != nil {
			w.cluster.teller.followCustom()
		}
	})
	if w.saved != nil {
		every(saveEvery, func() { _ = w.saved.Write() }) // what goes wrong is told and counted there
	}
	return g.Wait()
}

// Led is closed when this replica begins to watch. Only from then on may subscribers come to it.
func (w *Watcher) Led() <-chan struct{} { return w.led }

// Gather hands out the series of all objects, once these have been listed.
func (w *Watcher) Gather(emit func(model.Sample)) { w.cluster.series.Gather(emit) }

// Ready is nil when subscribers get names here, or another replica is known to have the lease: one that stands by does all that it is there for, and
// Kubernetes would neither finish a rollout nor allow a node to be drained while it called itself not ready.
func (w *Watcher) Ready() error {
	switch {
	case w.options.Feed.IsReady() || w.standby.Load():
		return nil
	case !w.leading.Load():
		return errWaiting
	}
	return errListing
}

func (w *Watcher) register(reg prometheus.Registerer) error {
	c := w.cluster
	list := []prometheus.Collector{
		c.events, c.requests, c.lookedUp, c.resumes, c.publishTime, c.runningTime, c.leading, objectCollector{c}, w.options.Feed.Collector(),
	}
	if c.teller != nil {
		list = append(list, c.teller.told, c.teller.lost)
	}
	for _, collector := range list {
		if err := reg.Register(collector); err != nil {
			return err
		}
	}
	return nil
}

// objectCollector tells how much is held.
type objectCollector struct{ *cluster }

// Describe sends nothing: the collector is not checked, as what it has depends on what was asked for.
func (objectCollector) Describe(chan<- *prometheus.Desc) {}

// Collect counts objects and what waits.
func (c objectCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(name, help string, value float64, label ...string) {
		labels := prometheus.Labels{}
		if len(label) == 2 {
			labels[label[0]] = label[1]
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, labels), prometheus.GaugeValue, value)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, state := range c.kinds {
		gauge("vetch_kube_objects", "Objects of the Kubernetes API that are held, by kind.", float64(state.objects), "kind", k.name)
		refused := 0.0
		if state.refused {
			refused = 1
		}
		gauge("vetch_kube_refused", "1 for a kind that the Kubernetes API does not give.", refused, "kind", k.name)
	}
	gauge("vetch_kube_series", "Series that tell of the state of objects.", float64(c.series.Series()))
	gauge("vetch_kube_ended_pods", "Pods that have ended, and whose names are kept for a while.", float64(len(c.ended)))
	gauge("vetch_kube_owners_waiting", "Owners of pods that are looked for.", float64(len(c.awaited)))
	gauge("vetch_kube_owners_remembered", "Owners of pods that no watch tells of.", float64(len(c.others)))
}

// counting counts requests to the API by verb, resource and status.
type counting struct {
	next     http.RoundTripper
	requests *prometheus.CounterVec
}

// RoundTrip counts one request.
func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	code := "error"
	if err == nil {
		code = fmt.Sprint(resp.StatusCode)
	}
	verb, resource := verbOf(r)
	c.requests.WithLabelValues(verb, resource, code).Inc()
	return resp, err
}

// verbOf names a request as the API's own audit does. What is not one of the watched resources is "other".
func verbOf(r *http.Request) (verb, resource string) {
	resource = "other"
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	named := false
	for _, k := range everyKind() {
		for i, part := range parts {
			if part == k.resource.Resource {
				resource, named = part, i < len(parts)-1
			}
		}
	}
	for i, part := range parts {
		if part == "leases" {
			resource, named = part, i < len(parts)-1
		}
	}
	switch {
	case r.Method == http.MethodPut:
		return "update", resource
	case r.Method == http.MethodPost:
		return "create", resource
	case r.URL.Query().Get("watch") != "" && r.URL.Query().Get("watch") != "false":
		return "watch", resource
	case r.Method == http.MethodGet && (named || resource == "other"):
		return "get", resource
	}
	return "list", resource
}
