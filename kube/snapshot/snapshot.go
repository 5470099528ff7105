// Package snapshot keeps on disk what watches of the Kubernetes API have told and up to which resource version, so that the next start goes on from there.
// The format is in docs/formats/watcher-snapshot.md.
package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vetch-dev/vetch/store/directory"
)

// Why there is nothing to go on from, always wrapped.
var (
	ErrNone         = errors.New("there is no snapshot")
	ErrCorrupt      = errors.New("the snapshot is corrupt")
	ErrOtherCluster = errors.New("the snapshot is of another cluster")
	ErrOtherForm    = errors.New("the snapshot was written by another version, or with other settings")
	ErrOld          = errors.New("the snapshot is too old")
)

const (
	// MaxAge of a snapshot. The API has forgotten what came after it long before: it keeps 5 minutes of history, and of busy resources less.
	MaxAge  = 15 * time.Minute
	newName = ".new" // what a file has behind its name until it is whole
)

// Options of a Directory. Dir, Cluster and MaxBytes are needed.
type Options struct {
	Dir        string // made if it is not there
	Cluster    string // differs between clusters
	MaxBytes   int64  // of all files; a resource that does not fit in is not kept
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: not exported
	Now        func() time.Time      // nil: time.Now
}

// Directory holds one file for each resource. All methods, and those of its Resources, may be called from several goroutines.
type Directory struct {
	opts   Options
	lock   *directory.Lock
	failed *prometheus.CounterVec

	mu        sync.Mutex
	resources map[string]*Resource
	sizes     map[string]int64 // bytes of the files
}

// Open takes the directory for itself. Errors: directory.ErrInUse, or what the file system said.
func Open(o Options) (*Directory, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	lock, err := directory.NewLock(o.Dir)
	if err != nil {
		return nil, err
	}
	d := &Directory{opts: o, lock: lock, resources: make(map[string]*Resource), sizes: make(map[string]int64), failed: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vetch_kube_snapshot_failures_total", Help: "Times that a resource's snapshot was not written or given up, by reason.",
	}, []string{"reason"})}
	for _, reason := range []string{reasonWrite, reasonUnreadable, reasonTooLarge} {
		d.failed.WithLabelValues(reason)
	}
	if o.Registerer != nil {
		bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "vetch_kube_snapshot_bytes", Help: "Bytes on disk from which a restart goes on.",
		}, d.bytes)
		for _, c := range []prometheus.Collector{d.failed, bytes} {
			if err := o.Registerer.Register(c); err != nil {
				return nil, errors.Join(fmt.Errorf("register the metrics of snapshots: %w", err), lock.Release())
			}
		}
	}
	return d, nil
}

// Close writes what has changed and lets go of the directory.
func (d *Directory) Close() error { return errors.Join(d.Write(), d.lock.Release()) }

// Write brings all files up to date. Those that cannot be written are tried again the next time.
func (d *Directory) Write() error {
	d.mu.Lock()
	list := make([]*Resource, 0, len(d.resources))
	for _, r := range d.resources {
		list = append(list, r)
	}
	d.mu.Unlock()
	var errs []error
	for _, r := range list {
		errs = append(errs, r.Write())
	}
	return errors.Join(errs...)
}

// identityForm is what Identity accepts of a file.
var identityForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`)

// Identity is host_random as this directory was first asked for it on this host: a restart is the same replica as before. The lock keeps other processes from
// having it meanwhile, but not those that use a copy of the directory (a cloned machine, a volume made of a snapshot): these have another host name, for which
// there is a new identity.
func (d *Directory) Identity(host, random string) string {
	path := filepath.Join(d.opts.Dir, "identity")
	if text, err := os.ReadFile(path); err == nil && identityForm.Match(text) {
		if of := strings.LastIndexByte(string(text), '_'); of >= 0 && string(text[:of]) == host {
			return string(text)
		}
	}
	identity := host + "_" + random
	err := os.WriteFile(path+newName, []byte(identity), 0o600)
	if err == nil {
		err = os.Rename(path+newName, path)
	}
	if err != nil {
		d.opts.Log.Warn("remember the identity of this replica", "err", err)
	}
	return identity
}

// Resource is the file of one resource. form tells apart what records of different shape are.
func (d *Directory) Resource(name, form string) *Resource {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.resources[name]
	if r == nil {
		r = &Resource{of: d, path: filepath.Join(d.opts.Dir, name+".snapshot"), header: header{Cluster: d.opts.Cluster, Resource: name, Form: form}}
		d.resources[name] = r
	}
	return r
}

// room is how many bytes a resource may take.
func (d *Directory) room(name string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	room := d.opts.MaxBytes
	for other, size := range d.sizes {
		if other != name {
			room -= size
		}
	}
	return max(room, 0)
}

func (d *Directory) sized(name string, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sizes[name] = bytes
}

func (d *Directory) bytes() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var sum int64
	for _, size := range d.sizes {
		sum += size
	}
	return float64(sum)
}

// Reader hands out the records of a file.
type Reader struct {
	file *os.File
	*decoder
}

// Load opens what an earlier process wrote. The caller closes the Reader.
func (r *Resource) Load() (*Reader, error) {
	opened, err := r.open()
	if err != nil {
		return nil, err
	}
	age := r.of.opts.Now().Sub(time.UnixMilli(opened.Written))
	if age > MaxAge || age < -MaxAge {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrOld, age.Round(time.Second)), opened.Close())
	}
	return opened, nil
}

// open opens the file for reading, whatever its age.
func (r *Resource) open() (*Reader, error) {
	f, err := os.Open(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	d, err := newDecoder(f)
	if err == nil {
		if err = d.check(&r.header); err == nil {
			return &Reader{f, d}, nil
		}
		d.close()
	}
	return nil, cmp.Or(err, f.Close())
}

// Version is the resource version up to which the records are.
func (r *Reader) Version() string { return r.decoder.Version }

// Next gives one record; it is good until the next call. After the last it is io.EOF; before that what was given may be wrong (ErrCorrupt).
func (r *Reader) Next() (record []byte, err error) {
	_, record, err = r.next()
	return record, err
}

// Close lets go of the file.
func (r *Reader) Close() error {
	r.close()
	return r.file.Close()
}
