package kubelet

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	configutil "github.com/prometheus/common/config"
)

const (
	port    = "10250"
	timeout = 10 * time.Second // of one question
)

// Options say where a kubelet is, and who asks. Files are read again when they change.
type Options struct {
	Address    string // "10.0.0.5", "node1:10250", "fd00::5", "[fd00::5]", "[fd00::5]:10250"
	CAFile     string // certificates that the kubelet's must be signed by; "": those of the system
	TokenFile  string // holds a bearer token of Kubernetes
	Unverified bool   // whatever certificate the kubelet shows is believed: most sign their own
}

// Client asks one kubelet. It may be used from any goroutine.
type Client struct {
	base url.URL
	http *http.Client
}

// NewClient prepares to ask; it does not connect yet.
func NewClient(o Options) (*Client, error) {
	host := o.Address
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	c := configutil.HTTPClientConfig{
		TLSConfig:   configutil.TLSConfig{CAFile: o.CAFile, InsecureSkipVerify: o.Unverified, MinVersion: configutil.TLSVersions["TLS12"]},
		EnableHTTP2: true,
	}
	if o.TokenFile != "" {
		c.Authorization = &configutil.Authorization{Type: "Bearer", CredentialsFile: o.TokenFile}
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("credentials for the kubelet: %w", err)
	}
	client, err := configutil.NewClientFromConfig(c, "kubelet")
	if err != nil {
		return nil, fmt.Errorf("credentials for the kubelet: %w", err)
	}
	return &Client{base: url.URL{Scheme: "https", Host: host}, http: client}, nil
}

// Summary asks for /stats/summary, which needs get of nodes/stats.
func (c *Client) Summary(ctx context.Context) (s *Summary, err error) {
	err = c.get(ctx, "/stats/summary", func(r io.Reader) error { s, err = ReadSummary(r); return err })
	return s, err
}

// Cadvisor asks for /metrics/cadvisor, which needs get of nodes/metrics.
func (c *Client) Cadvisor(ctx context.Context) (groups map[string]*Group, err error) {
	err = c.get(ctx, "/metrics/cadvisor", func(r io.Reader) error { groups, err = ReadCadvisor(r); return err })
	return groups, err
}

func (c *Client) get(ctx context.Context, path string, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	to := c.base
	to.Path = path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return fmt.Errorf("ask the kubelet for %s: %w", path, err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the kubelet for %s: %w", path, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the kubelet for %s: it answers %s", path, response.Status)
	}
	return read(response.Body)
}
