package config

import (
	"slices"
	"strings"
)

// Option is one setting: a key of the file, a variable and a flag that all mean the same.
type Option struct {
	Key  string // path in the file: "metrics.retention_age"
	Help string // one line, without a full stop
	of   func(*Config) value
}

// Options lists all settings in the order in which the file is written.
func Options() []Option {
	return []Option{
		{"listen", "address and port of the page, the APIs and /metrics", func(c *Config) value { return (*stringValue)(&c.Listen) }},
		{"data_dir", "folder that holds everything stored", func(c *Config) value { return (*stringValue)(&c.DataDir) }},
		{"insecure", "serve beyond loopback without TLS and authentication; send credentials without TLS", func(c *Config) value { return (*boolValue)(&c.Insecure) }},
		{"cluster", "label cluster of all that is stored or sent", func(c *Config) value { return (*stringValue)(&c.Cluster) }},
		{"node", "label node of all that is stored or sent, and the name of this machine in its cluster; empty is the host name", func(c *Config) value { return (*stringValue)(&c.Node) }},
		{"server", "URL that the agent or watcher sends to: a vetch server, or any receiver of remote write", func(c *Config) value { return (*stringValue)(&c.Server) }},
		{"ship.ca_file", "certificates that may have signed the server's; empty is those of the system", func(c *Config) value { return (*stringValue)(&c.Ship.CAFile) }},
		{"ship.cert_file", "certificate that is shown to the server", func(c *Config) value { return (*stringValue)(&c.Ship.CertFile) }},
		{"ship.key_file", "key of that certificate", func(c *Config) value { return (*stringValue)(&c.Ship.KeyFile) }},
		{"ship.token_file", "file with the bearer token for the server", func(c *Config) value { return (*stringValue)(&c.Ship.TokenFile) }},
		{"ship.username", "user name for the server", func(c *Config) value { return (*stringValue)(&c.Ship.Username) }},
		{"ship.password_file", "file with the password for the server", func(c *Config) value { return (*stringValue)(&c.Ship.PasswordFile) }},
		{"ship.spool_size", "what may wait on disk for a server that is away (0 is nothing)", func(c *Config) value { return &c.Ship.SpoolSize }},
		{"metrics.retention_age", "delete samples older than this (15d, 12h)", func(c *Config) value { return (*durationValue)(&c.Metrics.RetentionAge) }},
		{"metrics.retention_size", "delete the oldest samples above this size (10GB, 512MiB; 0 is no limit)", func(c *Config) value { return &c.Metrics.RetentionSize }},
		{"metrics.interval", "time between two samples of a series", func(c *Config) value { return (*durationValue)(&c.Metrics.Interval) }},
		{"events.retention_age", "delete events of days older than this (30d)", func(c *Config) value { return (*durationValue)(&c.Events.RetentionAge) }},
		{"events.retention_size", "delete the oldest days of events above this size (1GB; 0 is no limit)", func(c *Config) value { return &c.Events.RetentionSize }},
		{"agent.hook", "kernel hook for socket traffic: auto, socket (Linux 6.3+) or syscall", func(c *Config) value { return (*stringValue)(&c.Agent.Hook) }},
		{"agent.ignore_cgroups", "globs of cgroup paths whose traffic is dropped in the kernel", func(c *Config) value { return (*listValue)(&c.Agent.IgnoreCgroups) }},
		{"agent.ignore_requests", "requests to leave out: health-checks, scrapes, patterns such as workload=shop-* route=/internal/*", func(c *Config) value { return (*listValue)(&c.Agent.IgnoreRequests) }},
		{"agent.routes_per_workload", "routes told apart for each workload; the rest counts as ~other", func(c *Config) value { return (*intValue)(&c.Agent.RoutesPerWorkload) }},
		{"agent.series_expiry", "end the series of what is gone after this", func(c *Config) value { return (*durationValue)(&c.Agent.SeriesExpiry) }},
		{"agent.poll_interval", "time between two readings of the kernel's counters", func(c *Config) value { return (*durationValue)(&c.Agent.PollInterval) }},
		{"agent.tls.enabled", "see what programs say inside of TLS, by probes in their TLS libraries", func(c *Config) value { return (*boolValue)(&c.Agent.TLS.Enabled) }},
		{"agent.tls.java", "JVMs whose own TLS is seen, by a library that is loaded into them: all, or globs of workloads, main classes and jars", func(c *Config) value { return (*listValue)(&c.Agent.TLS.Java) }},
		{"agent.names.url", "names feed of the cluster's watcher (https://host:port)", func(c *Config) value { return (*stringValue)(&c.Agent.Names.URL) }},
		{"agent.names.ca_file", "certificates that the watcher's must be signed by; the system's where it is empty", func(c *Config) value { return (*stringValue)(&c.Agent.Names.CAFile) }},
		{"agent.names.cert_file", "certificate that the agent shows to the watcher", func(c *Config) value { return (*stringValue)(&c.Agent.Names.CertFile) }},
		{"agent.names.key_file", "key of that certificate", func(c *Config) value { return (*stringValue)(&c.Agent.Names.KeyFile) }},
		{"agent.names.token_file", "file with the bearer token that the agent sends to the watcher", func(c *Config) value { return (*stringValue)(&c.Agent.Names.TokenFile) }},
		{"agent.kubelet.address", "kubelet of this node (host or host:port), which tells what pods have on its disk, and what they use where cgroups cannot be read", func(c *Config) value { return (*stringValue)(&c.Agent.Kubelet.Address) }},
		{"agent.kubelet.ca_file", "certificates that the kubelet's must be signed by; the system's where it is empty", func(c *Config) value { return (*stringValue)(&c.Agent.Kubelet.CAFile) }},
		{"agent.kubelet.token_file", "file with the bearer token of Kubernetes that the agent sends to the kubelet", func(c *Config) value { return (*stringValue)(&c.Agent.Kubelet.TokenFile) }},
		{"agent.kubelet.unverified", "believe whatever certificate the kubelet shows: most sign their own", func(c *Config) value { return (*boolValue)(&c.Agent.Kubelet.Unverified) }},
		{"agent.tracer.listen", "unix socket where connections are served as the JSON of older network tracers", func(c *Config) value { return (*stringValue)(&c.Agent.Tracer.Listen) }},
		{"agent.tracer.source", "unix socket of another network tracer that is read in place of kernel programs", func(c *Config) value { return (*stringValue)(&c.Agent.Tracer.Source) }},
		{"watcher.listen", "address and port of the names feed", func(c *Config) value { return (*stringValue)(&c.Watcher.Listen) }},
		{"watcher.kubeconfig", "file that says how to reach the Kubernetes API; empty is as a pod, else as kubectl would", func(c *Config) value { return (*stringValue)(&c.Watcher.Kubeconfig) }},
		{"watcher.lease", "namespace/name of the Lease that one of several watchers holds; empty where there is one", func(c *Config) value { return (*stringValue)(&c.Watcher.Lease) }},
		{"watcher.cert_file", "certificate of the names feed", func(c *Config) value { return (*stringValue)(&c.Watcher.CertFile) }},
		{"watcher.key_file", "key of that certificate", func(c *Config) value { return (*stringValue)(&c.Watcher.KeyFile) }},
		{"watcher.client_ca_file", "certificates that those of the feed's subscribers must be signed by", func(c *Config) value { return (*stringValue)(&c.Watcher.ClientCAFile) }},
		{"watcher.token_file", "file with the bearer token that the feed's subscribers must send", func(c *Config) value { return (*stringValue)(&c.Watcher.TokenFile) }},
		{"watcher.snapshot_size", "what of the cluster's objects may lie on disk, so that a restart need not list them (0 is nothing)", func(c *Config) value { return &c.Watcher.SnapshotSize }},
		{"watcher.state.enabled", "tell the state of pods, workloads, nodes, volumes and so on as kube_* metrics", func(c *Config) value { return (*boolValue)(&c.Watcher.State.Enabled) }},
		{"watcher.state.labels", "labels of objects that become kube_*_labels: pods=team, nodes=*", func(c *Config) value { return (*listValue)(&c.Watcher.State.Labels) }},
		{"watcher.state.annotations", "annotations of objects that become kube_*_annotations: namespaces=owner", func(c *Config) value { return (*listValue)(&c.Watcher.State.Annotations) }},
		{"web.config_file", "TLS and basic auth of the listener (exporter-toolkit format)", func(c *Config) value { return (*stringValue)(&c.Web.ConfigFile) }},
		{"web.token_file", "bearer tokens that are let in, one a line: write TOKEN or all TOKEN", func(c *Config) value { return (*stringValue)(&c.Web.TokenFile) }},
		{"log.level", "debug, info, warn or error", func(c *Config) value { return (*stringValue)(&c.Log.Level) }},
		{"log.format", "text or json", func(c *Config) value { return (*stringValue)(&c.Log.Format) }},
	}
}

// Flag is the name on the command line, without dashes: "metrics-retention-age".
func (o Option) Flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(o.Key) }

// Env is the name of the variable: "VETCH_METRICS_RETENTION_AGE".
func (o Option) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(o.Key, ".", "_"))
}

// Set reads text into the setting. The error says what was expected; it does not name the setting.
func (o Option) Set(c *Config, text string) error { return o.of(c).Set(text) }

// Get is the setting as Set reads it.
func (o Option) Get(c *Config) string { return o.of(c).String() }

// Type is the kind of value, for help texts: "string", "duration", "size", "int", "bool" or "list".
func (o Option) Type() string { return o.of(&Config{}).Type() }

func find(key string) (Option, bool) {
	all := Options()
	i := slices.IndexFunc(all, func(o Option) bool { return o.Key == key })
	if i < 0 {
		return Option{}, false
	}
	return all[i], true
}
