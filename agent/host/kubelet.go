package host

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/transport/kubelet"
)

const (
	askKubelet   = 15 * time.Second // how often, about cgroups; it looks at them no more often
	askSpace     = time.Minute      // how often, about space on the disk
	believeAtAll = 2 * time.Minute  // after that an answer is too old
)

// told is what the kubelet of this node said last.
type told struct {
	client *kubelet.Client
	wanted atomic.Bool // nothing of pods can be read of cgroups here

	mu     sync.Mutex
	groups map[string]*kubelet.Group
	before time.Time // of the answer before the last
	at     time.Time
	space  map[spaceKey]float64 // bytes
	spaced time.Time
	asked  [2]uint64 // that it answered, that it did not
}

// spaceKey is a pod, or a container of it.
type spaceKey struct{ uid, container string }

// Run asks the kubelet, where there is one to ask, until ctx ends. Its failures are counted, and it is asked again.
func (m *Meter) Run(ctx context.Context) error {
	if m.kubelet == nil {
		return nil
	}
	ticker := time.NewTicker(askKubelet)
	defer ticker.Stop()
	for rounds := 0; ; rounds++ {
		if m.kubelet.wanted.Load() {
			m.heard(m.kubelet.askGroups(ctx, m.options.Now))
		}
		if rounds%int(askSpace/askKubelet) == 0 {
			m.heard(m.kubelet.askSpace(ctx, m.options.Now))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// heard counts an answer. The first failure is a warning: what is wrong with an address or with rights stays so.
func (m *Meter) heard(err error) {
	m.kubelet.mu.Lock()
	defer m.kubelet.mu.Unlock()
	if err == nil {
		m.kubelet.asked[0]++
		return
	}
	m.kubelet.asked[1]++
	level := slog.LevelDebug
	if m.kubelet.asked[1] == 1 && !errors.Is(err, context.Canceled) {
		level = slog.LevelWarn
	}
	m.log.Log(context.Background(), level, "the kubelet does not tell what pods use", "err", err)
}

func (t *told) askGroups(ctx context.Context, now func() time.Time) error {
	groups, err := t.client.Cadvisor(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.groups, t.before, t.at = groups, t.at, now()
	return nil
}

func (t *told) askSpace(ctx context.Context, now func() time.Time) error {
	s, err := t.client.Summary(ctx)
	if err != nil {
		return err
	}
	space := make(map[spaceKey]float64)
	for i := range s.Pods {
		p := &s.Pods[i]
		if v := kubelet.Sum(p.Ephemeral); v != nil {
			space[spaceKey{p.Ref.UID, ""}] = *v
		}
		for j := range p.Containers {
			c := &p.Containers[j]
			if v := kubelet.Sum(c.Rootfs, c.Logs); v != nil {
				space[spaceKey{p.Ref.UID, c.Name}] = *v
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.space, t.spaced = space, now()
	return nil
}

// spaceOf is what a pod, or a container of it, has on the node's disk.
func (m *Meter) spaceOf(uid, container string, r *reading) {
	if m.kubelet == nil || uid == "" {
		return
	}
	m.kubelet.mu.Lock()
	defer m.kubelet.mu.Unlock()
	if v, ok := m.kubelet.space[spaceKey{uid, container}]; ok && m.now.Sub(m.kubelet.spaced) <= believeAtAll {
		r.gauge(ephemeral, v)
	}
}

// addTold adds the pods that the kubelet tells of to what was found, if nothing of a pod was.
func (m *Meter) addTold(list map[string]*found) {
	if m.kubelet == nil {
		return
	}
	wanted := true
	for _, f := range list {
		wanted = wanted && f.pod == "" && f.place.PodUID == ""
	}
	m.kubelet.wanted.Store(wanted)
	m.kubelet.mu.Lock()
	defer m.kubelet.mu.Unlock()
	if !wanted || m.now.Sub(m.kubelet.at) > believeAtAll {
		return
	}
	sent := make(map[string]*kubelet.Group) // by pod: what holds its network
	for at, g := range m.kubelet.groups {
		f := &found{path: strings.TrimPrefix(at, "/"), place: process.ParseCgroup(at), told: g}
		f.pod, _ = process.ParsePod(at)
		if f.pod == "" && (f.place.Container == "" || f.place.PodUID == "") {
			continue // a cgroup above pods, or a unit, which is read here
		}
		if len(list) >= maxGroups {
			m.dropped[dropGroups]++
			break
		}
		f.inode = uint64(g.Values["container_start_time_seconds"])
		f.early = m.kubelet.before.IsZero() || g.Values["container_start_time_seconds"] <= float64(m.kubelet.before.Unix())
		if _, ok := g.Values["container_network_receive_bytes_total"]; ok && f.pod == "" {
			sent[path.Dir(f.path)] = g
		}
		list[f.path] = f
		if f.place.Container != "" && g.Pod != "" {
			m.namer.Learn(f.place, toldNames(g))
		}
	}
	for at, g := range sent {
		if pod := list[at]; pod != nil {
			pod.network = g
		}
	}
}

// toldNames are the names of a container as the kubelet tells them.
func toldNames(g *kubelet.Group) process.Names {
	n := process.Names{PodNamespace: g.Namespace, Pod: g.Pod, Container: g.Container, Image: g.Image}
	if g.Container == "" || g.Container == "POD" {
		n.Sandbox, n.Container = true, ""
	}
	return n
}

// toldReading is what the kubelet said of a cgroup; network is of what holds the pod's, nil where it is none or has none.
func toldReading(g, network *kubelet.Group, r *reading) {
	if g == nil {
		return
	}
	amount := func(of *kubelet.Group, name string) (float64, bool) {
		v, ok := of.Values[name]
		return v, ok && v >= 0 && v < noLimit // neither NaN nor infinite
	}
	for _, c := range []struct {
		name  string
		to    counter
		scale float64
	}{
		{"container_cpu_usage_seconds_total", cpuUsed, nanoseconds}, {"container_cpu_user_seconds_total", cpuUser, nanoseconds},
		{"container_cpu_system_seconds_total", cpuSystem, nanoseconds}, {"container_cpu_cfs_throttled_seconds_total", cpuThrottled, nanoseconds},
		{"container_fs_reads_bytes_total", diskRead, 1}, {"container_fs_writes_bytes_total", diskWritten, 1},
	} {
		if v, ok := amount(g, c.name); ok && v*c.scale < noLimit {
			r.count(c.to, uint64(v*c.scale))
		}
	}
	if network != nil {
		for name, to := range map[string]counter{"container_network_receive_bytes_total": netReceived, "container_network_transmit_bytes_total": netSent} {
			if v, ok := amount(network, name); ok {
				r.count(to, uint64(v))
			}
		}
	}
	rss, known := amount(g, "container_memory_rss")
	if mapped, ok := amount(g, "container_memory_mapped_file"); known && ok {
		r.gauge(memoryRSS, rss+mapped)
	}
	for name, to := range map[string]gauge{"container_memory_cache": memoryCache, "container_memory_working_set_bytes": memoryWorking} {
		if v, ok := amount(g, name); ok {
			r.gauge(to, v)
		}
	}
	if limit, ok := amount(g, "container_spec_memory_limit_bytes"); ok && limit > 0 { // 0 is none
		r.gauge(memoryLimit, limit)
	}
	quota, ok1 := amount(g, "container_spec_cpu_quota")
	period, ok2 := amount(g, "container_spec_cpu_period")
	if ok1 && ok2 && quota > 0 && period > 0 {
		r.gauge(cpuLimit, quota/period)
	}
}
