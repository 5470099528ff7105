package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/vetch-dev/vetch/config"
	"github.com/vetch-dev/vetch/servicemap"
)

const mapHelp = `Reads the service map of a running server and prints its edges: who calls whom, on which port and protocol, requests a second, the
share that fails, durations at the 50th, 95th and 99th percentile, and failed connects. "-" is a figure that is not known.

The server is asked at --server; a user and password may stand in the URL.`

const mapExample = `  vetch map                          edges of the last minute, the one with most trouble first
  vetch map --tree --range 15m       who calls whom, from the first caller down
  vetch map --watch                  live; Ctrl-C ends it
  vetch map -o json | jq '.edges[] | select(.health == "critical")'`

// mapOptions are the flags of "vetch map".
type mapOptions struct {
	server    string
	caFile    string
	namespace string
	window    string
	output    string
	tree      bool
	watch     bool
}

func newMap(p program) *cobra.Command {
	var o mapOptions
	cmd := &cobra.Command{
		Use:     "map",
		Short:   "Print the service map of a running server",
		Long:    mapHelp,
		Example: mapExample,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printMap(cmd.Context(), p, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.server, "server", "", "URL or host:port of the server (default: the listen address of VETCH_LISTEN or http://127.0.0.1:4780)")
	f.StringVar(&o.caFile, "ca-file", "", "PEM file of the authority that signed the server's certificate")
	f.StringVarP(&o.namespace, "namespace", "n", "", "only this namespace and what it talks to")
	f.StringVar(&o.window, "range", "1m", "length of the time range that ends now")
	f.BoolVar(&o.tree, "tree", false, "print callers with what they call below them")
	f.BoolVarP(&o.watch, "watch", "w", false, "follow the live map")
	outputFlag(cmd, &o.output, "table", "table", "json")
	_ = cmd.MarkFlagFilename("ca-file", "pem", "crt")
	return cmd
}

func printMap(ctx context.Context, p program, o mapOptions) error {
	if o.output != "table" && o.output != "json" {
		return wrongOutput(o.output, "table", "json")
	}
	if o.tree && o.output == "json" {
		return wrongUsage(errors.New("--tree is not for -o json"))
	}
	if d, err := model.ParseDuration(o.window); err != nil || time.Duration(d) < servicemap.MinRange {
		return wrongUsage(fmt.Errorf("--range must be a duration of at least %s, not %q", servicemap.MinRange, o.window))
	}
	base, err := serverURL(o.server, p.environ)
	if err != nil {
		return wrongUsage(err)
	}
	c, err := newClient(base, o.caFile)
	if err != nil {
		return err
	}
	out := newScreen(p.stdout, p.environ)
	show := func(m *servicemap.Map) string {
		if o.tree {
			return treeText(m, out.colour)
		}
		return edgeTable(m, out.colour)
	}
	if o.watch {
		return watchMap(ctx, c, o, out, show)
	}
	raw, m, err := c.fetchMap(ctx, o)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return out.write(raw)
	}
	return out.write([]byte(show(m)))
}

// serverURL reads --server. Without it, it is the address that "vetch run" would listen on here.
func serverURL(flag string, environ []string) (*url.URL, error) {
	if flag == "" {
		l, err := config.Load(config.Input{Path: lookup(environ, config.EnvFile), Env: environ})
		if err != nil {
			return nil, err
		}
		host, port, _ := net.SplitHostPort(l.Listen) // validated
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		flag = net.JoinHostPort(host, port)
	}
	if !strings.Contains(flag, "://") {
		flag = "http://" + flag
	}
	u, err := url.Parse(flag)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--server must be a URL or host:port, not %q", flag)
	}
	return u, nil
}
