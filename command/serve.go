package command

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"

	"github.com/vetch-dev/vetch/api"
	"github.com/vetch-dev/vetch/config"
	"github.com/vetch-dev/vetch/model"
)

// newRegistry holds what vetch tells of itself.
func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "vetch_build_info", Help: "1, with the version as label.",
		ConstLabels: prometheus.Labels{"version": Version(), "goversion": runtime.Version()},
	})
	info.Set(1)
	reg.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// lateGatherer stands for the agent while it is being loaded: the port is taken first, because that fails fast and costs nothing.
type lateGatherer struct {
	to atomic.Pointer[model.Gatherer]
}

func (g *lateGatherer) set(to model.Gatherer) { g.to.Store(&to) }

// Gather gives nothing until set.
func (g *lateGatherer) Gather(emit func(model.Sample)) {
	if to := g.to.Load(); to != nil {
		(*to).Gather(emit)
	}
}

var errLoading = errors.New("kernel programs are being loaded")

func (g *lateGatherer) ready() error {
	if g.to.Load() == nil {
		return errLoading
	}
	return nil
}

// serving is what all roles serve: /metrics with the agent's series and vetch's own, and readiness.
func serving(l *config.Loaded, log *slog.Logger, reg *prometheus.Registry, watching *lateGatherer) api.Options {
	return api.Options{
		Listen: l.Listen, WebConfigFile: l.Web.ConfigFile, TokenFile: l.Web.TokenFile, Insecure: l.Insecure, Log: library(log, l), Registerer: reg,
		Gatherer: prometheus.Gatherers{reg, api.Exposition(watching)}, Ready: watching.ready,
	}
}

// listen takes the port. A web configuration that cannot be used is an error of the configuration.
func listen(o api.Options) (*api.Server, error) {
	if o.WebConfigFile != "" {
		if err := toolkit.Validate(o.WebConfigFile); err != nil {
			return nil, wrongConfig(fmt.Errorf("web.config_file %s: %w", o.WebConfigFile, err))
		}
	}
	s, err := api.New(o)
	if errors.Is(err, api.ErrNotSafe) {
		return nil, wrongConfig(err)
	}
	return s, err
}

// printWhere tells a person at the terminal what this process does and where to look. An agent has no page.
func printWhere(p program, l *config.Loaded, s *api.Server, does string, page bool) {
	base := scheme(l.Web.ConfigFile) + "://" + reachable(s.Addr())
	var b strings.Builder
	fmt.Fprintf(&b, "vetch %s %s. Ctrl-C ends it.\n", Version(), does)
	if page {
		fmt.Fprintf(&b, "  page     %s\n", base)
	}
	fmt.Fprintf(&b, "  metrics  %s/metrics\n", base)
	if l.Server != "" && !page {
		fmt.Fprintf(&b, "  server   %s\n", l.Server)
	}
	if page {
		fmt.Fprintf(&b, "  map      vetch map --watch%s\n", serverFlag(base))
		fmt.Fprintf(&b, "  data     %s\n", l.DataDir)
	}
	fmt.Fprint(p.stdout, b.String())
}

// serverFlag is what "vetch map" must be given to find a server that is not where it looks by itself.
func serverFlag(base string) string {
	c := config.Default()
	if base == "http://"+c.Listen {
		return ""
	}
	return " --server " + base
}

// reachable is an address that a browser on this machine can open.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
}

// scheme is "https" where the web configuration, which listen has validated, asks for TLS.
func scheme(webConfig string) string {
	var c struct {
		TLS yaml.Node `yaml:"tls_server_config"`
	}
	text, err := os.ReadFile(webConfig)
	if err == nil && yaml.Unmarshal(text, &c) == nil && !c.TLS.IsZero() {
		return "https"
	}
	return "http"
}

// asYAML is the configuration in effect, for /api/v1/status/config.
func asYAML(l *config.Loaded) string {
	var b bytes.Buffer
	if err := l.WriteYAML(&b); err != nil {
		return "# " + err.Error()
	}
	return b.String()
}

// flagValues are all settings by their flag, for /api/v1/status/flags.
func flagValues(c *config.Config) map[string]string {
	values := map[string]string{}
	for _, o := range config.Options() {
		values[o.Flag()] = o.Get(c)
	}
	return values
}
