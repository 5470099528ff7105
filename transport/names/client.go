package names

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	silence     = 3 * heartbeat // after which a stream counts as dead
	firstPause  = 500 * time.Millisecond
	longPause   = 15 * time.Second
	goodStream  = time.Minute // one that lasted this long begins the pauses anew
	maxReceived = 4 << 20     // bytes of one message
)

// Credentials say how a Client proves who it is, and whom it believes. Files are read when a connection is made.
type Credentials struct {
	CAFile            string // certificates of who may have signed the server's; empty: those of the system
	CertFile, KeyFile string // our own certificate
	TokenFile         string // holds a bearer token
}

// Receiver takes what the feed says. Its methods are called by one goroutine.
type Receiver interface {
	// Update takes one valid message of the feed. It must not change it.
	Update(u *Update, received time.Time)
	// Connected says whether the feed is there; what was told before stays as it is while it is not.
	Connected(bool)
}

// ClientOptions of a Client. URL and Receiver are needed.
type ClientOptions struct {
	Log         *slog.Logger
	URL         string // https://host:port, or http://host:port for plain text
	Credentials Credentials
	Node        string // whose pods are wanted in full
	Receiver    Receiver
	Registerer  prometheus.Registerer // nil: not exported
}

// Client subscribes to a feed, and again whenever the stream ends.
type Client struct {
	options  ClientOptions
	log      *slog.Logger
	conn     *grpc.ClientConn
	token    *secretFile
	plain    bool
	epoch    uint64
	sequence atomic.Uint64
	up       atomic.Bool
	metrics  clientMetrics
}

type clientMetrics struct {
	streams *prometheus.CounterVec // result: ended, refused, invalid, silent
	updates prometheus.Counter
}

// NewClient checks the options; it does not connect yet.
func NewClient(o ClientOptions) (*Client, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	target, plain, err := ParseURL(o.URL)
	if err != nil {
		return nil, err
	}
	c := &Client{options: o, log: o.Log, plain: plain, metrics: newClientMetrics()}
	creds := insecure.NewCredentials()
	if !plain {
		config, err := clientTLS(o.Credentials)
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(config)
	}
	if o.Credentials.TokenFile != "" {
		c.token = &secretFile{path: o.Credentials.TokenFile}
	}
	if err := c.register(); err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds), grpc.WithNoProxy(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceived)),
		grpc.WithMaxHeaderListSize(maxHeaders), grpc.WithUserAgent("vetch"), grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: longPause}, MinConnectTimeout: 5 * time.Second}),
	}
	if c.token != nil {
		options = append(options, grpc.WithPerRPCCredentials(c))
	}
	if c.conn, err = grpc.NewClient("dns:///"+target, options...); err != nil {
		return nil, fmt.Errorf("prepare the connection to the watcher: %w", err)
	}
	return c, nil
}

// ParseURL reads the address of a feed; plain says that it is not encrypted.
func ParseURL(text string) (target string, plain bool, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Port() == "" || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		return "", false, fmt.Errorf("must be like https://vetch-watcher.vetch.svc:4781, not %q", text)
	}
	return u.Host, u.Scheme == "http", nil
}

func clientTLS(c Credentials) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		roots, err := pool(c.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	if c.CertFile != "" {
		load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			certificate, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("read the certificate for the names feed: %w", err)
			}
			return &certificate, nil
		}
		if _, err := load(nil); err != nil {
			return nil, err
		}
		config.GetClientCertificate = load
	}
	return config, nil
}

// GetRequestMetadata gives the token to gRPC.
func (c *Client) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	text, err := c.token.read()
	if err != nil {
		return nil, fmt.Errorf("read the token for the names feed: %w", err)
	}
	return map[string]string{authorization: "Bearer " + strings.TrimSpace(string(text))}, nil
}

// RequireTransportSecurity tells gRPC whether the token may go without TLS: only where the URL says that there is none.
func (c *Client) RequireTransportSecurity() bool { return !c.plain }

// Run subscribes until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	defer c.conn.Close() // nothing is left to lose
	pause := firstPause
	for ctx.Err() == nil {
		start := time.Now()
		err := c.subscribe(ctx)
		c.connected(false)
		if ctx.Err() != nil {
			break
		}
		result := resultOf(err)
		c.metrics.streams.WithLabelValues(result).Inc()
		if time.Since(start) >= goodStream {
			pause = firstPause
		}
		c.log.Warn("names feed ended", "result", result, "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, longPause)
	}
	return nil
}

func resultOf(err error) string {
	switch {
	case errors.Is(err, errInvalid):
		return "invalid"
	case errors.Is(err, errSilent):
		return "silent"
	case status.Code(err) == codes.Unauthenticated || status.Code(err) == codes.PermissionDenied || status.Code(err) == codes.ResourceExhausted:
		return "refused"
	case status.Code(err) == codes.Unavailable:
		return "unavailable"
	}
	return "ended"
}

var errSilent = errors.New("nothing was heard from the watcher")

// subscribe follows one stream to its end.
func (c *Client) subscribe(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	stream, err := NewNamesClient(c.conn).Watch(ctx, &WatchRequest{Version: version, Node: c.options.Node, Epoch: c.epoch, Sequence: c.sequence.Load()})
	for err == nil {
		var u *Update
		if u, err = stream.Recv(); err == nil {
			watchdog.Reset(silence)
			err = c.take(u, time.Now())
		}
	}
	if cause := context.Cause(ctx); cause != nil && parent.Err() == nil {
		return cause
	}
	return err
}

// take checks one message and hands it on.
func (c *Client) take(u *Update, now time.Time) error {
	if err := Check(u); err != nil {
		c.epoch = 0
		c.sequence.Store(0)
		return err
	}
	if u.Epoch != c.epoch {
		if !u.Snapshot {
			c.epoch = 0
			return fmt.Errorf("%w: changes of an epoch without its snapshot", errInvalid)
		}
		c.epoch = u.Epoch
		c.sequence.Store(0)
	} else if u.Snapshot {
		c.sequence.Store(0)
	}
	c.options.Receiver.Update(u, now)
	c.metrics.updates.Add(float64(len(u.Names) + len(u.Forgotten)))
	if u.Sequence != 0 {
		c.sequence.Store(u.Sequence)
	}
	if c.sequence.Load() != 0 {
		c.connected(true)
	}
	return nil
}

func (c *Client) connected(up bool) {
	if c.up.Swap(up) != up {
		c.options.Receiver.Connected(up)
		if up {
			c.log.Info("names feed is there", "url", c.options.URL)
		}
	}
}

func newClientMetrics() clientMetrics {
	m := clientMetrics{
		streams: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vetch_names_streams_ended_total", Help: "Streams of the names feed that ended here, by why.",
		}, []string{"result"}),
		updates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vetch_names_received_total", Help: "Names, and names to forget, received by the names feed.",
		}),
	}
	for _, result := range []string{"ended", "invalid", "refused", "silent", "unavailable"} {
		m.streams.WithLabelValues(result)
	}
	return m
}

func (c *Client) register() error {
	if c.options.Registerer == nil {
		return nil
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	for _, collector := range []prometheus.Collector{
		c.metrics.streams, c.metrics.updates,
		gauge("vetch_names_connected", "1 while the names feed is there.", func() float64 {
			if c.up.Load() {
				return 1
			}
			return 0
		}),
		gauge("vetch_names_sequence", "Number of the last change of the names feed that is known here.", func() float64 { return float64(c.sequence.Load()) }),
	} {
		if err := c.options.Registerer.Register(collector); err != nil {
			return fmt.Errorf("register the metrics of the names feed: %w", err)
		}
	}
	return nil
}
