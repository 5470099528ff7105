package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// InvalidError says that a setting has a value that cannot work.
type InvalidError struct {
	Key    string // of the Option
	Reason string // "must be at least 1s, not 10ms"
}

func (e *InvalidError) Error() string { return e.Key + ": " + e.Reason }

// Validate returns all that cannot work, joined, each an InvalidError.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, key, format string, args ...any) {
		if !ok {
			errs = append(errs, &InvalidError{key, fmt.Sprintf(format, args...)})
		}
	}
	between := func(key string, d, low, high time.Duration) {
		check(d >= low && d <= high, key, "must be between %s and %s, not %s", text(low), text(high), text(d))
	}
	oneOf := func(key, have string, choices ...string) {
		check(slices.Contains(choices, have), key, "must be one of %q, not %q", choices, have)
	}
	errs = append(errs, c.validateListen()...)
	check(filepath.IsAbs(c.DataDir), "data_dir", "must be an absolute path, not %q", c.DataDir)
	between("metrics.retention_age", c.Metrics.RetentionAge, 2*time.Hour, 100*365*24*time.Hour)
	check(c.Metrics.RetentionSize == 0 || c.Metrics.RetentionSize >= 100*MB, "metrics.retention_size",
		"must be 0 (no limit) or at least 100MB, not %s", c.Metrics.RetentionSize.String())
	between("metrics.interval", c.Metrics.Interval, time.Second, 5*time.Minute)
	between("events.retention_age", c.Events.RetentionAge, 24*time.Hour, 100*365*24*time.Hour)
	check(c.Events.RetentionSize == 0 || c.Events.RetentionSize >= 50*MB, "events.retention_size",
		"must be 0 (no limit) or at least 50MB, not %s", c.Events.RetentionSize.String())
	oneOf("agent.hook", c.Agent.Hook, HookAuto, HookSocket, HookSyscall)
	for _, glob := range c.Agent.IgnoreCgroups {
		_, err := path.Match(glob, "")
		check(err == nil, "agent.ignore_cgroups", "%q is not a glob", glob)
	}
	for _, glob := range c.Agent.TLS.Java {
		_, err := path.Match(glob, "")
		check(err == nil && glob != "", "agent.tls.java", "%q is not a glob", glob)
	}
	check(len(c.Agent.TLS.Java) == 0 || c.Agent.TLS.Enabled, "agent.tls.java", "needs agent.tls.enabled")
	check(len(c.Agent.IgnoreRequests) <= maxRequestRules, "agent.ignore_requests", "at most %d rules, not %d", maxRequestRules, len(c.Agent.IgnoreRequests))
	for i, text := range c.Agent.IgnoreRequests {
		_, err := ParseRequestRule(text)
		check(err == nil, "agent.ignore_requests", "%v", err)
		check(!slices.Contains(c.Agent.IgnoreRequests[:i], text), "agent.ignore_requests", "%q is there twice", text)
	}
	check(c.Agent.RoutesPerWorkload >= 1 && c.Agent.RoutesPerWorkload <= 100_000, "agent.routes_per_workload",
		"must be between 1 and 100000, not %d", c.Agent.RoutesPerWorkload)
	between("agent.series_expiry", c.Agent.SeriesExpiry, 10*time.Second, 7*24*time.Hour)
	between("agent.poll_interval", c.Agent.PollInterval, 100*time.Millisecond, 30*time.Second)
	exists := func(key, file string) {
		if file != "" {
			_, err := os.Stat(file)
			check(err == nil, key, "%v", err)
		}
	}
	exists("web.config_file", c.Web.ConfigFile)
	exists("web.token_file", c.Web.TokenFile)
	for key, label := range map[string]string{"cluster": c.Cluster, "node": c.Node} {
		check(utf8.ValidString(label) && len(label) <= 200, key, "must be text of at most 200 bytes, not %.40q", label)
	}
	check(c.Cluster != "", "cluster", "must not be empty")
	c.validateShip(check, exists)
	c.validateNames(check, exists)
	exists("agent.kubelet.ca_file", c.Agent.Kubelet.CAFile)
	exists("agent.kubelet.token_file", c.Agent.Kubelet.TokenFile)
	c.validateTracer(check)
	c.validateWatcher(check, exists)
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, "text", "json")
	return errors.Join(errs...)
}

// validateNames holds the rule that no token leaves the machine without TLS, unless asked for.
func (c *Config) validateNames(check func(ok bool, key, format string, args ...any), exists func(key, file string)) {
	n := c.Agent.Names
	exists("agent.names.ca_file", n.CAFile)
	exists("agent.names.cert_file", n.CertFile)
	exists("agent.names.key_file", n.KeyFile)
	exists("agent.names.token_file", n.TokenFile)
	check((n.CertFile == "") == (n.KeyFile == ""), "agent.names.cert_file", "needs agent.names.key_file, and the other way round")
	if n.URL == "" {
		return
	}
	u, err := url.Parse(n.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Port() == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		check(false, "agent.names.url", "must be like https://vetch-watcher.vetch.svc:4781, not %q", n.URL)
		return
	}
	check(u.Scheme == "https" || n.TokenFile == "" || loopback(u.Hostname()) || c.Insecure, "agent.names.url", "a token goes to other machines by https only, or with insecure")
}

// maxSocketPath is what the kernel takes (unix(7)), less what a name has at first.
const maxSocketPath = 100

func (c *Config) validateTracer(check func(ok bool, key, format string, args ...any)) {
	t := c.Agent.Tracer
	for key, path := range map[string]string{"agent.tracer.listen": t.Listen, "agent.tracer.source": t.Source} {
		check(path == "" || filepath.IsAbs(path) && len(path) <= maxSocketPath, key, "must be an absolute path of at most %d bytes, not %.120q", maxSocketPath, path)
	}
	check(t.Listen == "" || t.Source == "", "agent.tracer.listen", "there is nothing to serve where agent.tracer.source is read")
}

// validateWatcher holds the rule of listen for the names feed.
func (c *Config) validateWatcher(check func(ok bool, key, format string, args ...any), exists func(key, file string)) {
	w := c.Watcher
	exists("watcher.kubeconfig", w.Kubeconfig)
	exists("watcher.cert_file", w.CertFile)
	exists("watcher.key_file", w.KeyFile)
	exists("watcher.client_ca_file", w.ClientCAFile)
	exists("watcher.token_file", w.TokenFile)
	check((w.CertFile == "") == (w.KeyFile == ""), "watcher.cert_file", "a certificate and its watcher.key_file need each other")
	check(w.ClientCAFile == "" || w.CertFile != "", "watcher.client_ca_file", "needs watcher.cert_file")
	namespace, name, ok := strings.Cut(w.Lease, "/")
	check(w.Lease == "" || ok && namespace != "" && name != "" && !strings.Contains(name, "/"), "watcher.lease", "must be namespace/name, not %q", w.Lease)
	host, port, err := net.SplitHostPort(w.Listen)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	check(err == nil, "watcher.listen", "must be host:port such as 127.0.0.1:4781, not %q", w.Listen)
	_, err1 := ParseKeptTexts(w.State.Labels)
	check(err1 == nil, "watcher.state.labels", "%v", err1)
	_, err1 = ParseKeptTexts(w.State.Annotations)
	check(err1 == nil, "watcher.state.annotations", "%v", err1)
	safe := w.CertFile != "" && (w.ClientCAFile != "" || w.TokenFile != "")
	check(err != nil || loopback(host) || safe || c.Insecure, "watcher.listen", "%s can be reached from other machines: set watcher.cert_file, and "+
		"watcher.client_ca_file or watcher.token_file, or insecure if nobody else can reach it", w.Listen)
}

// validateListen holds the rule that nothing is served beyond this machine without TLS and authentication, unless asked for.
func (c *Config) validateListen() []error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return []error{&InvalidError{"listen", fmt.Sprintf("must be host:port such as 127.0.0.1:4780, not %q", c.Listen)}}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return []error{&InvalidError{"listen", fmt.Sprintf("%q is not a port (0 to 65535)", port)}}
	} else if n == 0 && host == "" {
		return []error{&InvalidError{"listen", "port 0 needs an address"}}
	}
	if !c.Loopback() && !c.Insecure && c.Web.ConfigFile == "" {
		return []error{&InvalidError{"listen", fmt.Sprintf("%s can be reached from other machines: set web.config_file (TLS and "+
			"basic auth, or web.token_file), or insecure if nobody else can reach it", c.Listen)}}
	}
	return nil
}

// validateShip holds the rules of where an agent sends to and how it proves who it is.
func (c *Config) validateShip(check func(ok bool, key, format string, args ...any), exists func(key, file string)) {
	s := &c.Ship
	if c.Server != "" {
		u, err := url.Parse(c.Server)
		ok := err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
		check(ok, "server", "must be a URL such as https://vetch.example.org:4780")
		check(!ok || u.User == nil, "server", "must not hold a password: give ship.username and ship.password_file")
		secret := s.TokenFile != "" || s.Username != ""
		check(!ok || !secret || u.Scheme == "https" || c.Insecure || loopback(u.Hostname()), "server",
			"a token or password would go there unencrypted: use https, or insecure if nobody else can listen")
	}
	check((s.CertFile == "") == (s.KeyFile == ""), "ship.cert_file", "a certificate and its ship.key_file need each other")
	check((s.Username == "") == (s.PasswordFile == ""), "ship.username", "a user name and ship.password_file need each other")
	check(s.TokenFile == "" || s.Username == "", "ship.token_file", "there can be a token or a user name, not both")
	check(s.SpoolSize == 0 || s.SpoolSize >= 2*MB, "ship.spool_size", "must be 0 (nothing on disk) or at least 2MB, not %s", s.SpoolSize.String())
	exists("ship.ca_file", s.CAFile)
	exists("ship.cert_file", s.CertFile)
	exists("ship.key_file", s.KeyFile)
	exists("ship.token_file", s.TokenFile)
	exists("ship.password_file", s.PasswordFile)
}

// Loopback reports whether Listen can only be reached from this machine.
func (c *Config) Loopback() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	return err == nil && loopback(host)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func text(d time.Duration) string { return (*durationValue)(&d).String() }
