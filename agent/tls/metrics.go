package tls

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counts are the watcher's own figures.
type counts struct {
	inspected uint64
	seconds   float64
	errors    map[string]uint64 // by reason
	missed    map[string]uint64 // by reason
}

// Why not all was seen that a process said which uses a file with TLS in it.
const (
	missedBegin    = "begun"     // it ran already when the file was probed
	missedEnded    = "ended"     // it had ended when the file was probed
	missedNotFound = "not_found" // it ended before its file could be opened: it is not known whether it does TLS
)

func newCounts() counts {
	c := counts{errors: map[string]uint64{}, missed: map[string]uint64{missedBegin: 0, missedEnded: 0, missedNotFound: 0}}
	for _, r := range reasons() {
		c.errors[r.name] = 0
	}
	c.errors["other"] = 0
	return c
}

type reason struct {
	err  error
	name string
}

// reasons are the values of the label "reason", the more telling first.
func reasons() []reason {
	return []reason{
		{errTooMany, "too_many_files"}, {errAttach, "attach"}, {ErrTooOld, "too_old"}, {ErrStripped, "stripped"}, {ErrCode, "code"}, {ErrMalformed, "malformed"},
	}
}

func reasonOf(err error) string {
	for _, r := range reasons() {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "other"
}

// collector exports a Watcher.
type collector struct {
	w                                                                      *Watcher
	files, processes, limit, unseen, failed, missed, inspected, took, lost *prometheus.Desc
}

// Collector exports what is probed and what could not be.
func (w *Watcher) Collector() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("vetch_tls_"+name, help, labels, nil)
	}
	return &collector{w,
		desc("probed_files", "Programs and libraries whose plain text is seen, by the library that does the TLS.", "library"),
		desc("processes", "Processes that are known to use them; at most 1024 for each file.", "library"),
		desc("max_probed_files", "Limit of vetch_tls_probed_files."),
		desc("unseen_processes", "Processes that did TLS in the last 10 minutes of which not all is seen; at most 1024."),
		desc("probe_failures_total", "Programs and libraries with TLS that cannot be looked into, by reason.", "reason"),
		desc("programs_missed_total", "Processes that ran before a file with TLS that they use was probed, so that what they said until then was not seen, by reason.", "reason"),
		desc("inspected_files_total", "Programs and libraries that were looked at for TLS."),
		desc("inspect_seconds_total", "Time spent on that."),
		desc("mappings_lost_total", "Files that were mapped faster than they could be looked at; all processes are looked at after that."),
	}
}

// Describe is that of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect is that of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.w.mu.Lock()
	files, processes := map[Library]int{}, map[Library]int{}
	for _, f := range c.w.files {
		if !f.isProbed() {
			continue
		}
		for _, found := range f.found {
			files[found.Library]++
			processes[found.Library] += len(f.users)
		}
	}
	figures, unseen := c.w.counts, c.w.unseen.number(time.Now())
	figures.errors, figures.missed = maps.Clone(figures.errors), maps.Clone(figures.missed)
	c.w.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	for library, n := range files {
		gauge(c.files, float64(n), string(library))
		gauge(c.processes, float64(processes[library]), string(library))
	}
	gauge(c.limit, float64(c.w.options.MaxFiles))
	gauge(c.unseen, float64(unseen))
	for name, n := range figures.errors {
		counter(c.failed, float64(n), name)
	}
	for name, n := range figures.missed {
		counter(c.missed, float64(n), name)
	}
	counter(c.inspected, float64(figures.inspected))
	counter(c.took, figures.seconds)
	counter(c.lost, float64(c.w.lost()))
}

// File is a program or library with TLS in it.
type File struct {
	Path      string // as the processes see it that use it
	Found     []Found
	Processes int   // that are known to use it
	Err       error // why not all, or nothing, of it can be probed
}

// Files lists what is there, by path.
func (w *Watcher) Files() []File {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []File
	for _, f := range w.files {
		out = append(out, File{f.path, f.found, len(f.users), f.err})
	}
	slices.SortFunc(out, func(a, b File) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Processes, b.Processes)) })
	return out
}
