// Package config holds every setting of vetch in one struct, and reads it from a strict YAML file, VETCH_* variables and flags by one table.
package config

import (
	"time"
)

// Config is all that can be set. Default fills it, Load overlays what the user wrote, Validate judges the result.
type Config struct {
	Listen   string // host:port of the page, the APIs and /metrics
	DataDir  string // everything that is stored lies below it
	Insecure bool   // serve beyond loopback without TLS and authentication; send credentials without TLS
	Cluster  string // label of all that is stored or sent
	Node     string // the same; empty is the host name
	Server   string // URL that an agent sends to; empty: it only serves /metrics
	Ship     Ship
	Metrics  Metrics
	Events   Events
	Agent    Agent
	Watcher  Watcher
	Web      Web
	Log      Log
}

// Ship are the settings of sending to Server. Files are read again when they change.
type Ship struct {
	CAFile       string // certificates that may have signed the server's; empty: those of the system
	CertFile     string // our own certificate
	KeyFile      string // its key
	TokenFile    string // holds a bearer token
	Username     string // of basic auth
	PasswordFile string // holds the password
	SpoolSize    Size   // bytes that may wait on disk, 0 is none
}

// Metrics are the settings of the embedded metric store.
type Metrics struct {
	RetentionAge  time.Duration // samples older than this are deleted
	RetentionSize Size          // the oldest blocks are deleted above this; 0 is no limit
	Interval      time.Duration // time between two samples of a series
}

// Events are the settings of the embedded store of events.
type Events struct {
	RetentionAge  time.Duration // days older than this are deleted
	RetentionSize Size          // the oldest days are deleted above this; 0 is no limit
}

// Agent are the settings of what watches this machine.
type Agent struct {
	Hook              string        // HookAuto, HookSocket or HookSyscall
	IgnoreCgroups     []string      // globs of cgroup paths whose traffic is dropped in the kernel
	IgnoreRequests    []string      // presets and patterns (ParseRequestRule) of requests that only count in vetch_requests_ignored_total
	RoutesPerWorkload int           // further routes count under "~other"
	SeriesExpiry      time.Duration // series of what is gone end after this
	PollInterval      time.Duration // time between two readings of the kernel's maps
	TLS               TLS
	Names             Names
	Kubelet           Kubelet
	Tracer            Tracer
}

// Kubelet are the settings of asking the kubelet of an agent's node what pods use. Files are read again when they change.
type Kubelet struct {
	Address    string // host or host:port; empty: it is not asked
	CAFile     string // certificates that the kubelet's must be signed by; empty: the system's
	TokenFile  string // a bearer token of Kubernetes
	Unverified bool   // whatever certificate it shows is believed
}

// Tracer are the unix sockets of the JSON of other network tracers. An empty path is not used; there can be one of the two.
type Tracer struct {
	Listen string // where what the kernel programs count is served
	Source string // of the tracer that is read in place of the kernel programs
}

// Names are the settings of where an agent hears the names of a cluster from. Empty files are not used.
type Names struct {
	URL       string // of the watcher's feed, https://host:port; empty: there is no cluster
	CAFile    string // certificates that the watcher's must be signed by; empty: the system's
	CertFile  string // the agent's own certificate
	KeyFile   string
	TokenFile string // a bearer token
}

// Watcher are the settings of what reads the Kubernetes API. Files are read again when they change.
type Watcher struct {
	Listen       string // host:port of the names feed
	Kubeconfig   string // how to reach the API; empty: as a pod, else as kubectl would
	Lease        string // namespace/name of the Lease that one of several replicas holds; empty: there is one replica
	CertFile     string // of the names feed; empty: plain text
	KeyFile      string
	ClientCAFile string // subscribers need a certificate of one of these; empty: they need none
	TokenFile    string // subscribers need this bearer token; empty: they need none
	SnapshotSize Size   // bytes of objects of the API that a restart goes on from, 0 is none
	State        State
}

// State are the settings of the kube_* series of objects of the Kubernetes API.
type State struct {
	Enabled     bool     // there are such series
	Labels      []string // labels of objects that are told too, as ParseKeptTexts reads them
	Annotations []string // annotations of the same kind
}

// TLS are the settings of looking into what programs encrypt.
type TLS struct {
	Enabled bool     // programs and libraries that do TLS are probed
	Java    []string // "all", or globs of workloads and programs: JVMs into which a library is loaded, for their TLS is their own
}

// The choices of Agent.Hook.
const (
	HookAuto    = "auto"    // socket where the kernel has it, else syscall
	HookSocket  = "socket"  // tp_btf/sock_send_length and sock_recv_length, Linux 6.3+
	HookSyscall = "syscall" // raw_tp/sys_exit
)

// Web are the settings of the HTTP listener.
type Web struct {
	ConfigFile string // TLS and basic auth, in the format of Prometheus's exporter-toolkit; empty is plain HTTP
	TokenFile  string // bearer tokens that are let in, one a line behind what they are for
}

// Log are the settings of vetch's own log, on standard error.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// Default is the configuration without a file, variables or flags.
func Default() Config {
	return Config{
		Listen:  "127.0.0.1:4780",
		DataDir: "/var/lib/vetch",
		Cluster: "default",
		Ship:    Ship{SpoolSize: 500 * MB},
		Metrics: Metrics{
			RetentionAge:  15 * 24 * time.Hour,
			RetentionSize: 10 * GB,
			Interval:      5 * time.Second,
		},
		Events: Events{RetentionAge: 30 * 24 * time.Hour, RetentionSize: GB},
		Agent: Agent{
			Hook:              HookAuto,
			RoutesPerWorkload: 200,
			SeriesExpiry:      10 * time.Minute,
			PollInterval:      time.Second,
			TLS:               TLS{Enabled: true},
		},
		Watcher: Watcher{Listen: "127.0.0.1:4781", SnapshotSize: 200 * MB, State: State{Enabled: true}},
		Log:     Log{Level: "info", Format: "text"},
	}
}
