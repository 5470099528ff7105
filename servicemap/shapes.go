package servicemap

import (
	"encoding/json"
	"math"
	"sync"
	"time"
)

// Health says whether somebody should look. The thresholds are in health.go and in api/openapi.yaml.
type Health string

// The health levels, worst first.
const (
	Critical Health = "critical"
	Warning  Health = "warning"
	OK       Health = "ok"
	Idle     Health = "idle"
)

// Signals are rate (requests a second), error share (0 to 1) and duration quantiles (seconds). nil means not known.
type Signals struct {
	Rate       *float64 `json:"rate"`
	ErrorShare *float64 `json:"errorShare"`
	P50        *float64 `json:"p50"`
	P95        *float64 `json:"p95"`
	P99        *float64 `json:"p99"`
}

// Node is one workload on the map. X and Y are the centre of its box in pixels at zoom 1; boxes up to NodeWidth by NodeHeight do not overlap.
type Node struct {
	ID        string   `json:"id"`
	Cluster   string   `json:"cluster"`
	Namespace string   `json:"namespace"`
	Kind      string   `json:"kind"`
	Name      string   `json:"name"`
	Health    Health   `json:"health"`
	Reasons   []string `json:"reasons"`
	Signals   Signals  `json:"signals"`
	X         float64  `json:"x"`
	Y         float64  `json:"y"`
}

// Edge is one client that uses one port of one server. Rates are per second, RTT is the median in seconds; nil means not known.
type Edge struct {
	ID                string             `json:"id"`
	Client            string             `json:"client"`
	Server            string             `json:"server"`
	Port              int                `json:"port"`
	Protocol          string             `json:"protocol"`
	Health            Health             `json:"health"`
	Reasons           []string           `json:"reasons"`
	Signals           Signals            `json:"signals"`
	ConnectRate       *float64           `json:"connectRate"`
	FailedConnectRate *float64           `json:"failedConnectRate"`
	FailedConnects    map[string]float64 `json:"failedConnects"` // error -> rate
	BytesSentRate     *float64           `json:"bytesSentRate"`  // client to server
	BytesReceivedRate *float64           `json:"bytesReceivedRate"`
	RetransmitRate    *float64           `json:"retransmitRate"`
	RTT               *float64           `json:"rtt"`
}

// Map is the graph over a range. It is shared between callers and must not be changed.
type Map struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Nodes []Node    `json:"nodes"` // by id
	Edges []Edge    `json:"edges"` // by id

	encoded encodedOnce
}

// JSON is the map as the API sends it, encoded once for all viewers. The bytes must not be changed.
func (m *Map) JSON() ([]byte, error) { return m.encoded.marshal(m) }

// Series holds values at Start, Start+Step, ... (Unix seconds, seconds). nil means not known.
type Series struct {
	Start  float64    `json:"start"`
	Step   float64    `json:"step"`
	Values []*float64 `json:"values"`
}

// WorkloadSummary is one line of the overview. LatencySpark is the 95th percentile.
type WorkloadSummary struct {
	ID           string   `json:"id"`
	Cluster      string   `json:"cluster"`
	Namespace    string   `json:"namespace"`
	Kind         string   `json:"kind"`
	Name         string   `json:"name"`
	Health       Health   `json:"health"`
	Reasons      []string `json:"reasons"`
	Signals      Signals  `json:"signals"`
	RateSpark    Series   `json:"rateSpark"`
	ErrorSpark   Series   `json:"errorSpark"`
	LatencySpark Series   `json:"latencySpark"`
}

// WorkloadList holds all workloads, the one with most trouble first. It is shared between callers and must not be changed.
type WorkloadList struct {
	Start     time.Time         `json:"start"`
	End       time.Time         `json:"end"`
	Workloads []WorkloadSummary `json:"workloads"`

	encoded encodedOnce
}

// JSON is the list as the API sends it, encoded once for all viewers. The bytes must not be changed.
func (l *WorkloadList) JSON() ([]byte, error) { return l.encoded.marshal(l) }

// Route is one route of a workload, or one operation of a protocol that is not HTTP, whose Method may be "". Codes holds the rate of each
// code; "none" is a connection cut before the response.
type Route struct {
	Protocol string             `json:"protocol"`
	Method   string             `json:"method"`
	Route    string             `json:"route"`
	Signals  Signals            `json:"signals"`
	Codes    map[string]float64 `json:"codes"`
}

// Charts are the time series of one workload. RateByClass is keyed by 1xx, 2xx, 3xx, 4xx, 5xx, none
// and other for HTTP, by ok and failed for all other protocols.
type Charts struct {
	RateByClass map[string]Series `json:"rateByClass"`
	ErrorShare  Series            `json:"errorShare"`
	P50         Series            `json:"p50"`
	P95         Series            `json:"p95"`
	P99         Series            `json:"p99"`
}

// WorkloadDetail is everything about one workload. It is shared between callers and must not be changed.
type WorkloadDetail struct {
	Workload WorkloadSummary `json:"workload"`
	Start    time.Time       `json:"start"`
	End      time.Time       `json:"end"`
	Charts   Charts          `json:"charts"`
	Callers  []Edge          `json:"callers"` // worst first
	Callees  []Edge          `json:"callees"` // worst first
	Routes   []Route         `json:"routes"`  // most requests first
	TLS      []TLS           `json:"tls"`     // oldest version first

	encoded encodedOnce
}

// JSON is the detail as the API sends it, encoded once for all viewers. The bytes must not be changed.
func (d *WorkloadDetail) JSON() ([]byte, error) { return d.encoded.marshal(d) }

// encodedOnce keeps the JSON form of an answer that many viewers share.
type encodedOnce struct {
	once sync.Once
	data []byte
	err  error
}

func (e *encodedOnce) marshal(v any) ([]byte, error) {
	e.once.Do(func() { e.data, e.err = json.Marshal(v) })
	return e.data, e.err
}

// figure makes a number ready for JSON: six significant digits are more than a page shows and keep large maps small; NaN and
// infinities are not known.
func figure(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	r := round(v, 6)
	return &r
}

// round keeps n significant digits, so that the shortest decimal form of the result has at most n digits.
func round(v float64, n int) float64 {
	if v == 0 {
		return 0
	}
	digits := n - 1 - int(math.Floor(math.Log10(math.Abs(v))))
	if digits < -22 || digits > 22 { // beyond exact powers of ten
		return v
	}
	if digits < 0 {
		scale := math.Pow10(-digits)
		return math.Round(v/scale) * scale
	}
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
