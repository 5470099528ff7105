package names

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func podName(namespace, workload, pod, node, ip string) *Name {
	n := &Name{
		Role: Role_ROLE_POD, Workload: &Workload{Namespace: namespace, Kind: "Deployment", Name: workload}, Node: node, From: 1000,
		Pod: &Pod{Uid: "uid-" + pod, Name: pod, Containers: []*Container{{Id: "c-" + pod, Name: "app"}}},
	}
	if ip != "" {
		n.Addresses = [][]byte{[]byte(ip)}
	}
	return n
}

// book is what a subscriber makes of a feed: the names by id, as a Receiver must.
type book struct {
	mu        sync.Mutex
	names     map[uint64]*Name
	next      map[uint64]*Name // of a snapshot that is not whole
	snapshots int
	up        bool
}

func (b *book) Connected(up bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.up = up
}

func (b *book) Update(u *Update, _ time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if u.Snapshot {
		b.snapshots++
		b.next = map[uint64]*Name{}
	}
	into := b.names
	if b.next != nil {
		into = b.next
	}
	for _, n := range u.Names {
		into[n.Id] = n
	}
	for _, id := range u.Forgotten {
		delete(into, id)
	}
	if u.Sequence != 0 && b.next != nil {
		b.names, b.next = b.next, nil
	}
}

// has lists what is known: "shop/web full" for a pod in full, "shop/web" for one in brief.
func (b *book) has() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, n := range b.names {
		text := n.Workload.GetNamespace() + "/" + n.Workload.GetName()
		switch {
		case n.Role == Role_ROLE_AGENT:
			text = "agent " + n.Node
		case n.Pod != nil:
			text += " full"
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

func (b *book) seen() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.snapshots
}

// serve runs a server of a feed until the test ends, or until stop is called.
func serve(t *testing.T, o ServerOptions) (address string, stop func()) {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	s, err := NewServer(o)
	require.NoError(t, err)
	require.NoError(t, s.Listen())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); require.NoError(t, <-done) })
	t.Cleanup(stop)
	return s.Addr().String(), stop
}

// subscribe runs a client until the test ends, or until stop is called.
func subscribe(t *testing.T, o ClientOptions) (*book, func()) {
	t.Helper()
	b := &book{names: map[uint64]*Name{}}
	o.Receiver = b
	c, err := NewClient(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); require.NoError(t, <-done) })
	t.Cleanup(stop)
	return b, stop
}

func eventually(t *testing.T, b *book, want ...string) {
	t.Helper()
	slices.Sort(want)
	require.EventuallyWithT(t, func(t *assertT) { require.Equal(t, want, b.has()) }, time.Minute, 5*time.Millisecond)
}

func TestOwnPodsInFullAndOthersInBrief(t *testing.T) {
	f := NewFeed(FeedOptions{})
	f.Set("a", podName("shop", "web", "web-1", "n1", "\x0a\x00\x00\x01"))
	f.Set("b", podName("shop", "db", "db-0", "n2", "\x0a\x00\x00\x02"))
	f.Set("c", podName("shop", "starting", "s-0", "n2", "")) // no address: only its own node need know
	f.Set("d", &Name{Role: Role_ROLE_SERVICE, Workload: &Workload{Namespace: "shop", Kind: "Service", Name: "front"}})
	address, _ := serve(t, ServerOptions{Feed: f})
	one, _ := subscribe(t, ClientOptions{URL: "http://" + address, Node: "n1"})
	require.Empty(t, one.has(), "nothing is sent before the first snapshot is whole")
	f.Ready()
	server, _ := subscribe(t, ClientOptions{URL: "http://" + address})
	eventually(t, one, "agent n1", "shop/db", "shop/front", "shop/web full")
	eventually(t, server, "agent n1", "shop/db", "shop/front", "shop/web")

	f.Set("c", podName("shop", "started", "s-0", "n2", "\x0a\x00\x00\x03"))
	f.Delete("b")
	require.False(t, f.Set("d", &Name{Role: Role_ROLE_SERVICE, Workload: &Workload{Namespace: "shop", Kind: "Service", Name: "front"}}), "nothing new")
	eventually(t, one, "agent n1", "shop/front", "shop/started", "shop/web full")
	f.Set("c", podName("shop", "started", "s-0", "n2", ""))
	eventually(t, one, "agent n1", "shop/front", "shop/web full")
	require.Equal(t, 1, one.seen())
}

func TestSubscriberResumesWhereItStopped(t *testing.T) {
	f := NewFeed(FeedOptions{History: 64})
	f.Ready()
	address, stop := serve(t, ServerOptions{Feed: f})
	f.Set("a", podName("shop", "a", "a-0", "n2", "\x0a\x00\x00\x01"))
	b, _ := subscribe(t, ClientOptions{URL: "http://" + address})
	eventually(t, b, "shop/a")
	stop()
	f.Set("b", podName("shop", "b", "b-0", "n2", "\x0a\x00\x00\x02"))
	f.Delete("a")
	_, stop = serve(t, ServerOptions{Feed: f, Listen: address})
	eventually(t, b, "shop/b")
	require.Equal(t, 1, b.seen(), "the changes were enough")
	require.InDelta(t, 1, testutil.ToFloat64(f.metrics.resumed), 0)

	stop()
	for i := range 100 { // more than the history holds
		f.Set("c", podName("shop", fmt.Sprint("c", i), "c-0", "n2", "\x0a\x00\x00\x03"))
	}
	_, stop = serve(t, ServerOptions{Feed: f, Listen: address})
	eventually(t, b, "shop/b", "shop/c99")
	require.Equal(t, 2, b.seen())
	require.InDelta(t, 1, testutil.ToFloat64(f.metrics.snapshots.WithLabelValues("behind")), 0)

	stop()
	another := NewFeed(FeedOptions{}) // the watcher was started anew
	another.Set("z", podName("shop", "z", "z-0", "n2", "\x0a\x00\x00\x09"))
	another.Ready()
	serve(t, ServerOptions{Feed: another, Listen: address})
	eventually(t, b, "shop/z")
	require.Equal(t, 3, b.seen())
	require.InDelta(t, 1, testutil.ToFloat64(another.metrics.snapshots.WithLabelValues("epoch")), 0)
}

func TestHistoryIsBounded(t *testing.T) {
	f := NewFeed(FeedOptions{History: 8})
	at := f.sequence
	for i := range 8 {
		f.Set(fmt.Sprint(i), podName("shop", fmt.Sprint(i), fmt.Sprint(i), "n1", "\x0a\x00\x00\x01"))
	}
	b := f.after(at, "")
	require.False(t, b.snapshot)
	require.Len(t, b.names, 8)
	f.Set("0", podName("shop", "again", "0", "n1", "\x0a\x00\x00\x01"))
	require.True(t, f.after(at, "").snapshot, "the first of them is not there any more")
	b = f.after(at+1, "")
	require.False(t, b.snapshot)
	require.Len(t, b.names, 8, "what changed twice comes once, as it is now")
	require.True(t, f.after(f.sequence+1, "").snapshot, "a sequence of the future is none of ours")
	require.Len(t, f.history, 8)
}

func TestAgentsAreKnownToOneAnother(t *testing.T) {
	f := NewFeed(FeedOptions{MaxSubscribers: 2})
	f.Ready()
	address, _ := serve(t, ServerOptions{Feed: f})
	one, _ := subscribe(t, ClientOptions{URL: "http://" + address, Node: "n1"})
	eventually(t, one, "agent n1")
	_, stop := subscribe(t, ClientOptions{URL: "http://" + address, Node: "n2"})
	eventually(t, one, "agent n1", "agent n2")
	reg := prometheus.NewRegistry()
	third, _ := subscribe(t, ClientOptions{URL: "http://" + address, Node: "n3", Registerer: reg})
	require.Eventually(t, func() bool { return testutil.ToFloat64(f.metrics.dropped.WithLabelValues("subscribers")) > 0 }, time.Minute, time.Millisecond)
	require.Empty(t, third.has())
	stop()
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.agents["n2"].streams == 0
	}, time.Minute, time.Millisecond)
	require.Contains(t, one.has(), "agent n2", "it may come back")
}

func TestTokenAndCertificates(t *testing.T) {
	dir := t.TempDir()
	ca, server, client := newAuthority(t, dir, "ca"), filepath.Join(dir, "server"), filepath.Join(dir, "client")
	ca.issue(t, server)
	ca.issue(t, client)
	other := newAuthority(t, dir, "other")
	other.issue(t, filepath.Join(dir, "stranger"))
	token, wrong := filepath.Join(dir, "token"), filepath.Join(dir, "wrong")
	require.NoError(t, os.WriteFile(token, []byte("secret\n"), 0o600))
	require.NoError(t, os.WriteFile(wrong, []byte("guess\n"), 0o600))
	f := NewFeed(FeedOptions{})
	f.Set("a", podName("shop", "a", "a-0", "n2", "\x0a\x00\x00\x01"))
	f.Ready()
	address, _ := serve(t, ServerOptions{
		Feed: f, CertFile: server + ".pem", KeyFile: server + ".key", ClientCAFile: filepath.Join(dir, "ca.pem"), TokenFile: token,
	})
	good := Credentials{CAFile: filepath.Join(dir, "ca.pem"), CertFile: client + ".pem", KeyFile: client + ".key", TokenFile: token}
	for name, change := range map[string]func(*Credentials){
		"wrong token":    func(c *Credentials) { c.TokenFile = wrong },
		"no token":       func(c *Credentials) { c.TokenFile = "" },
		"no certificate": func(c *Credentials) { c.CertFile, c.KeyFile = "", "" },
		"another's": func(c *Credentials) {
			c.CertFile, c.KeyFile = filepath.Join(dir, "stranger.pem"), filepath.Join(dir, "stranger.key")
		},
		"server not believed":  func(c *Credentials) { c.CAFile = filepath.Join(dir, "other.pem") },
		"all that is required": func(*Credentials) {},
	} {
		t.Run(name, func(t *testing.T) {
			creds := good
			change(&creds)
			reg := prometheus.NewRegistry()
			b, _ := subscribe(t, ClientOptions{URL: "https://" + address, Credentials: creds, Registerer: reg})
			if name == "all that is required" {
				eventually(t, b, "shop/a")
				return
			}
			ended := func() float64 { return sum(t, reg, "vetch_names_streams_ended_total") }
			require.Eventually(t, func() bool { return ended() > 0 }, time.Minute, time.Millisecond)
			require.Empty(t, b.has())
		})
	}
	t.Run("plain text to TLS", func(t *testing.T) {
		reg := prometheus.NewRegistry()
		b, _ := subscribe(t, ClientOptions{URL: "http://" + address, Registerer: reg})
		require.Eventually(t, func() bool { return sum(t, reg, "vetch_names_streams_ended_total") > 0 }, time.Minute, time.Millisecond)
		require.Empty(t, b.has())
	})
}

func TestManyNamesComeInMessagesThatFit(t *testing.T) {
	f := NewFeed(FeedOptions{History: 1 << 15})
	const total = 10_000
	for i := range total {
		f.Set(fmt.Sprint(i), podName("a-namespace", fmt.Sprint("workload-", i), fmt.Sprint("pod-", i), "n1", "\x0a\x00\x00\x01"))
	}
	f.Ready()
	address, _ := serve(t, ServerOptions{Feed: f})
	b, _ := subscribe(t, ClientOptions{URL: "http://" + address, Node: "n1"})
	require.Eventually(t, func() bool { return len(b.has()) == total+1 }, time.Minute, 20*time.Millisecond)
	big := podName("a", "b", "c", "n1", "")
	big.Pod.Labels = map[string]string{"x": string(make([]byte, 2*maxNameSize))}
	require.False(t, f.Set("big", big))
	require.InDelta(t, 1, testutil.ToFloat64(f.metrics.dropped.WithLabelValues("size")), 0)
}
