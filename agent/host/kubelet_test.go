package host

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/transport/kubelet"
)

// kubeletOf gives what a real kubelet answered (transport/kubelet/testdata), with the changes that a test makes.
func kubeletOf(t *testing.T, change *atomic.Pointer[strings.Replacer]) *kubelet.Client {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file := map[string]string{"/stats/summary": "summary.json", "/metrics/cadvisor": "cadvisor.txt"}[r.URL.Path]
		text, err := os.ReadFile("../../transport/kubelet/testdata/" + file)
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(change.Load().Replace(string(text))))
	}))
	t.Cleanup(server.Close)
	c, err := kubelet.NewClient(kubelet.Options{Address: strings.TrimPrefix(server.URL, "https://"), Unverified: true})
	require.NoError(t, err)
	return c
}

func TestPodsByTheKubelet(t *testing.T) {
	root, clock := t.TempDir(), newClock()
	clock.at = time.Unix(1795311080, 0) // when it was asked
	files{"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2}.write(t, root)
	cgroupV2("system.slice/nginx.service", 1, 8).write(t, root)
	var change atomic.Pointer[strings.Replacer]
	change.Store(strings.NewReplacer())
	m := newMeter(t, Options{Root: root, Now: clock.now, Kubelet: kubeletOf(t, &change)})
	ask := func() {
		require.True(t, m.kubelet.wanted.Load(), "no pod is to be seen")
		m.heard(m.kubelet.askGroups(context.Background(), clock.now))
		m.heard(m.kubelet.askSpace(context.Background(), clock.now))
		clock.step()
	}
	gather(m)
	ask()
	container := labelSet("machine_id", "m1", "container_id", "/k8s/shop/postgres-0/postgres", "app_id", "/k8s/shop/postgres")
	pod := labelSet("namespace", "shop", "pod", "postgres-0", "kind", "Pod", "workload", "postgres-0")
	got := gather(m)
	require.Zero(t, got.value(t, "container_resources_cpu_usage_seconds_total", container), "what it used before we began to watch")
	change.Store(strings.NewReplacer("} 2.681476239 ", "} 4.181476239 ", "} 249990 ", "} 250990 "))
	ask()
	got = gather(m)
	require.InDelta(t, 1.5, got.value(t, "container_resources_cpu_usage_seconds_total", container), 1e-6)
	require.InDelta(t, 7159808+13078528, got.value(t, "container_resources_memory_rss_bytes", container), 0)
	require.InDelta(t, 36577280, got.value(t, "container_resources_memory_working_set_bytes", container), 0)
	require.False(t, got.has("container_resources_memory_limit_bytes", container), "0 is none")
	require.InDelta(t, 49152+4096, got.value(t, "container_resources_ephemeral_storage_bytes", container), 0)
	require.InDelta(t, 40464384, got.value(t, "vetch_pod_ephemeral_storage_bytes", pod), 0)
	require.InDelta(t, 37351424, got.value(t, "vetch_pod_memory_working_set_bytes", pod), 0)
	require.InDelta(t, 1000, got.value(t, "vetch_pod_network_received_bytes_total", pod), 0)
	require.True(t, got.has("container_resources_memory_rss_bytes", labelSet("machine_id", "m1", "container_id", "/system.slice/nginx.service", "app_id", "/system.slice/nginx.service")), "units go on to be read here")
	for _, s := range got {
		require.NotContains(t, s.Labels.Get("container_id"), "7ffb13d709be", "what holds a pod's namespaces is no container")
	}
	require.InDelta(t, 4, got.value(t, "vetch_host_kubelet_requests_total", labelSet("result", "answered")), 0)

	clock.at = clock.at.Add(believeAtAll)
	require.False(t, gather(m).has("container_resources_memory_rss_bytes", container), "its answer is too old")

	bundle(webID, "db-0", "pg", "container").write(t, root)
	cgroupV2("kubepods/burstable/pod"+podA+"/"+webID, 1, 8).write(t, root)
	clock.step()
	gather(m)
	require.False(t, m.kubelet.wanted.Load(), "pods can be read here")
}

func TestKubeletThatDoesNotAnswer(t *testing.T) {
	root := t.TempDir()
	files{"proc/self/mountinfo": mountsV2, "proc/1/mountinfo": mountsV2}.write(t, root)
	c, err := kubelet.NewClient(kubelet.Options{Address: "127.0.0.1:1", Unverified: true})
	require.NoError(t, err)
	var log bytes.Buffer
	m := newMeter(t, Options{Root: root, Kubelet: c, Log: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	failed := func() bool {
		m.kubelet.mu.Lock()
		defer m.kubelet.mu.Unlock()
		return m.kubelet.asked[1] > 0
	}
	require.Eventually(t, failed, time.Minute, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	m.heard(errors.New("again"))
	require.Equal(t, 1, strings.Count(log.String(), "level=WARN msg=\"the kubelet does not tell"), "once, not each 15 s")
	require.NoError(t, newMeter(t, Options{Root: root}).Run(context.Background()), "there is none to ask")
}

// TestWhatAKubeletMaySay: no number of it breaks a reading.
func TestWhatAKubeletMaySay(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, math.MaxFloat64, 1 << 63} {
		g := &kubelet.Group{Values: map[string]float64{}}
		for _, name := range []string{
			"container_cpu_usage_seconds_total", "container_memory_rss", "container_memory_mapped_file", "container_memory_cache", "container_spec_cpu_quota",
			"container_spec_cpu_period", "container_spec_memory_limit_bytes", "container_network_receive_bytes_total", "container_fs_reads_bytes_total",
		} {
			g.Values[name] = v
		}
		var r reading
		toldReading(g, g, &r)
		require.Zero(t, r.counted, v)
		require.Zero(t, r.gauged, v)
	}
	_, ok := containerOf(process.Identity{Pod: "a", ContainerID: "/k8s/n/a/"})
	require.False(t, ok)
}
