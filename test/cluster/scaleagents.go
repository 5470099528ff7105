package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vetch-dev/vetch/transport/names"
)

// agent subscribes to the feed as the agent of one node does, and notes when it knows a pod's addresses.
type agent struct {
	mu     sync.Mutex
	begun  bool
	first  map[uint64]time.Time // by the id of a name that it has known since record
	known  map[uint64]bool      // from before
	uids   map[uint64]string    // of pods on its own node
	synced chan struct{}
	once   sync.Once
}

func (a *agent) Connected(bool) {}

func (a *agent) Update(u *names.Update, received time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range u.Names {
		if n.Role != names.Role_ROLE_POD || len(n.Addresses) == 0 {
			continue
		}
		if n.Pod != nil {
			a.uids[n.Id] = n.Pod.Uid
		}
		if !a.begun {
			a.known[n.Id] = true
		} else if _, ok := a.first[n.Id]; !ok && !a.known[n.Id] {
			a.first[n.Id] = received
		}
	}
	if u.Sequence != 0 {
		a.once.Do(func() { close(a.synced) })
	}
}

// record begins to note times.
func (a *agent) record() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begun = true
}

// subscribe starts an agent for each node, and waits until all have a snapshot.
func (w *simulated) subscribe(ctx context.Context, g *errgroup.Group) ([]*agent, error) {
	agents := make([]*agent, w.scaling.nodes)
	for i := range agents {
		a := &agent{first: map[uint64]time.Time{}, known: map[uint64]bool{}, uids: map[uint64]string{}, synced: make(chan struct{})}
		client, err := names.NewClient(names.ClientOptions{URL: w.feed, Node: nodeOf(i), Receiver: a})
		if err != nil {
			return nil, err
		}
		agents[i] = a
		g.Go(func() error { return client.Run(ctx) })
	}
	limit := time.After(bootLimit)
	for i, a := range agents {
		select {
		case <-a.synced:
		case <-limit:
			return nil, fmt.Errorf("the agent of %s has no snapshot after %v", nodeOf(i), bootLimit)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return agents, nil
}

// latencies are, for each pod that began to run while it was recorded and each agent, from when the API told that it runs until the agent knew it;
// came is how many pods that
// were, and unknown how many names never came.
func latencies(truth *podWatch, agents []*agent) (out []time.Duration, came, unknown int) {
	uids := map[uint64]string{}
	for _, a := range agents {
		a.mu.Lock()
		for id, uid := range a.uids {
			uids[id] = uid
		}
		a.mu.Unlock()
	}
	fresh := map[uint64]bool{} // known by any agent since then
	for _, a := range agents {
		a.mu.Lock()
		for id := range a.first {
			fresh[id] = true
		}
		a.mu.Unlock()
	}
	truth.mu.Lock()
	defer truth.mu.Unlock()
	for id := range fresh {
		ran, ok := truth.ready[uids[id]]
		if !ok {
			continue
		}
		came++
		for _, a := range agents {
			a.mu.Lock()
			at, ok := a.first[id]
			known := a.known[id]
			a.mu.Unlock()
			switch {
			case ok:
				out = append(out, at.Sub(ran))
			case !known:
				unknown++
			}
		}
	}
	slices.Sort(out)
	return out, came, unknown
}

// figures are what a run measured.
type figures struct {
	idle, busy taken
	calls      map[string]float64 // to the API server since the watcher's start, by verb
	memory     [2]int
	replaced   int64
	latencies  []time.Duration // sorted
	came       int             // pods that they are of
	unknown    int
}

func (f *figures) quantile(q float64) time.Duration {
	if len(f.latencies) == 0 {
		return 0
	}
	return f.latencies[min(len(f.latencies)-1, int(q*float64(len(f.latencies))))]
}

func (u taken) row(what string) string {
	minutes := u.length.Minutes()
	other := 0.0
	for verb, n := range u.calls {
		if verb != "list" && verb != "watch" {
			other += n
		}
	}
	return fmt.Sprintf("| %s | %.1f %% of a core | %.1f | %.1f | %.1f |\n", what, 100*u.cpu.Seconds()/u.length.Seconds(), u.calls["list"]/minutes, u.calls["watch"]/minutes, other/minutes)
}

func (f *figures) text(s scaling) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d nodes, %d pods in Deployments of %d, simulated by kwok; a subscriber of the names feed for each node; `go run ./test/cluster -nodes %d -pods %d -churn %d -for %v scale`.\n\n",
		s.nodes, s.pods, podsOfDeployment, s.nodes, s.pods, s.churn, s.length)
	b.WriteString("| `vetch watcher` | CPU | lists a minute | watches a minute | other calls a minute |\n|---|---|---|---|---|\n")
	b.WriteString(f.idle.row("nothing changes"))
	b.WriteString(f.busy.row(fmt.Sprintf("%.1f pods deleted and made anew a second", float64(f.replaced)/f.busy.length.Seconds())))
	var calls []string
	for _, verb := range slices.Sorted(maps.Keys(f.calls)) {
		calls = append(calls, fmt.Sprintf("%.0f %s", f.calls[verb], verb))
	}
	fmt.Fprintf(&b, "\nCalls since its start, when there were no pods: %s. Memory: %d MiB, %d MiB at most. From when the API tells that a pod runs until an agent knows its address: p50 %v, p99 %v, at most %v (%d pods at %d agents; %d names did not come).\n",
		strings.Join(calls, ", "), f.memory[0]>>20, f.memory[1]>>20, f.quantile(0.5).Round(time.Millisecond), f.quantile(0.99).Round(time.Millisecond), f.quantile(1).Round(time.Millisecond), f.came, s.nodes, f.unknown)
	return b.String()
}

// scaleHeading begins what test/load leaves as it is when it writes the page.
const scaleHeading = "## Kubernetes at scale"

// write puts the text between the markers of these numbers of nodes and pods in a page, or adds it at its end.
func (f *figures) write(s scaling) error {
	page, err := os.ReadFile(s.out)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	from := fmt.Appendf(nil, "<!-- scale %d nodes %d pods -->\n", s.nodes, s.pods)
	to := []byte("<!-- end of scale -->\n")
	block := slices.Concat(from, []byte(f.text(s)), to)
	if at := bytes.Index(page, from); at >= 0 {
		end := bytes.Index(page[at:], to)
		if end < 0 {
			return fmt.Errorf("%s has no end of its marker", s.out)
		}
		page = slices.Concat(page[:at], block, page[at+end+len(to):])
	} else {
		if !bytes.Contains(page, []byte(scaleHeading)) {
			page = slices.Concat(page, []byte("\n"+scaleHeading+"\n"))
		}
		page = slices.Concat(page, []byte("\n"), block)
	}
	return os.WriteFile(s.out, page, 0o644)
}
