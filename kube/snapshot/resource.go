package snapshot

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"
)

// Why a resource is not kept.
const (
	reasonWrite      = "write"      // the file system did not take it; it is tried again
	reasonUnreadable = "unreadable" // the file could not be read again to go on with it
	reasonTooLarge   = "too_large"  // it does not fit into the limit
)

// maxPending is how many bytes of changes wait for the next writing before it is done at once.
const maxPending = 16 << 20

var (
	errTooLarge   = errors.New("it does not fit into the limit of all snapshots")
	errUnreadable = errors.New("read what is there")
)

// Resource keeps the records of one resource: in a file, and in memory only what changed since that was written. The file is replaced as a whole, so that it
// is always that of one resource version.
type Resource struct {
	of     *Directory
	path   string
	header header // Version is that of what is in memory

	mu      sync.Mutex
	kept    bool // from a whole list on
	dirty   bool
	pending map[string][]byte // by uid; nil: it is gone
	size    int               // bytes of pending

	writing sync.Mutex // of the one who writes the file
}

// Records calls add with each record and its uid, and ends with the error of add.
type Records func(add func(uid string, record []byte) error) error

// Replace writes a whole list. Until it has been called, and where it fails, nothing is kept.
func (r *Resource) Replace(version string, list Records) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	r.kept, r.dirty, r.pending, r.size, r.header.Version = version != "", false, make(map[string][]byte), 0, version
	h := r.header
	r.mu.Unlock()
	if version == "" { // an API that does not say it
		return nil
	}
	if err := r.replaceFile(h, list); err != nil {
		return r.giveUp(err)
	}
	return nil
}

// Put takes a new or changed record, which it keeps, and the resource version of the change.
func (r *Resource) Put(version, uid string, record []byte) { r.change(version, uid, record) }

// Delete takes the end of a record.
func (r *Resource) Delete(version, uid string) { r.change(version, uid, nil) }

func (r *Resource) change(version, uid string, record []byte) {
	r.mu.Lock()
	if !r.kept {
		r.mu.Unlock()
		return
	}
	r.size += len(record) - len(r.pending[uid])
	r.pending[uid] = record
	r.header.Version, r.dirty = version, true
	full := r.size > maxPending
	r.mu.Unlock()
	if full {
		_ = r.Write() // counted and told
	}
}

// Reached notes that nothing else has happened up to a resource version.
func (r *Resource) Reached(version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept && version != "" && version != r.header.Version {
		r.header.Version, r.dirty = version, true
	}
}

// Write brings the file up to date. What could not be written comes with the next time; where there is nothing to go on with, or no room, the resource is
// given up until its next list.
func (r *Resource) Write() error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	if !r.kept || !r.dirty {
		r.mu.Unlock()
		return nil
	}
	changes, h := r.pending, r.header
	r.pending, r.size, r.dirty = make(map[string][]byte), 0, false
	r.mu.Unlock()
	err := r.replaceFile(h, func(add func(string, []byte) error) error { return r.merged(changes, add) })
	switch {
	case err == nil:
		return nil
	case reasonOf(err) != reasonWrite || !r.putBack(changes):
		return r.giveUp(err)
	}
	return r.tell(err)
}

// merged are the records of the file with changes to them.
func (r *Resource) merged(changes map[string][]byte, add func(string, []byte) error) error {
	from, err := r.open()
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	defer from.Close()
	for {
		uid, body, err := from.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errUnreadable, err)
		}
		if _, changed := changes[uid]; changed {
			continue
		}
		if err := add(uid, body); err != nil {
			return err
		}
	}
	for uid, body := range changes {
		if body == nil {
			continue
		}
		if err := add(uid, body); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes a file beside the present one and puts it in its place. It is not flushed to the disk: a file that the machine's end has torn is found
// out by its checksum.
func (r *Resource) replaceFile(h header, list Records) error {
	h.Written = r.of.opts.Now().UnixMilli()
	f, err := os.OpenFile(r.path+newName, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	to := &limited{to: f, left: r.of.room(h.Resource)}
	err = encode(to, &h, list)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(r.path+newName, r.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(r.path+newName))
	}
	r.of.sized(h.Resource, to.written)
	return nil
}

func encode(w io.Writer, h *header, list Records) error {
	e, err := newEncoder(w, h)
	if err != nil {
		return err
	}
	return errors.Join(list(e.record), e.end())
}

// putBack keeps changes that could not be written; false where these are too many by now.
func (r *Resource) putBack(changes map[string][]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(changes, r.pending)
	r.pending, r.size, r.dirty = changes, 0, true
	for _, body := range changes {
		r.size += len(body)
	}
	return r.size <= maxPending
}

// giveUp keeps nothing until the next list.
func (r *Resource) giveUp(err error) error {
	r.mu.Lock()
	r.kept, r.pending, r.size = false, nil, 0
	r.mu.Unlock()
	r.of.sized(r.header.Resource, 0)
	return errors.Join(r.tell(err), os.RemoveAll(r.path))
}

func (r *Resource) tell(err error) error {
	r.of.failed.WithLabelValues(reasonOf(err)).Inc()
	r.of.opts.Log.Warn("the snapshot is not written; a restart may have to list anew", "resource", r.header.Resource, "err", err)
	return fmt.Errorf("write the snapshot of %s: %w", r.header.Resource, err)
}

func reasonOf(err error) string {
	switch {
	case errors.Is(err, errTooLarge):
		return reasonTooLarge
	case errors.Is(err, errUnreadable):
		return reasonUnreadable
	}
	return reasonWrite
}

// limited refuses what is too much.
type limited struct {
	to            io.Writer
	left, written int64
}

func (l *limited) Write(b []byte) (int, error) {
	if int64(len(b)) > l.left {
		return 0, errTooLarge
	}
	n, err := l.to.Write(b)
	l.left -= int64(n)
	l.written += int64(n)
	return n, err
}
