package tls

import (
	"os"
	"time"
)

func (f *watched) isProbed() bool { return len(f.attached) > 0 }

// unused says that nobody is known to use a file which is not to be kept.
func (f *watched) unused() bool { return len(f.users) == 0 && !f.installed }

// use notes who uses a file, and counts who was seen to begin before it was probed: what such a process said until then was not seen.
func (w *Watcher) use(f *watched, m mapping) {
	if f == nil {
		return
	}
	told, known := f.users[m.pid]
	if told || known && m.at == 0 {
		return
	}
	if m.at > 0 && m.at < f.probed {
		if w.gone(m.pid) {
			w.counts.missed[missedEnded]++
		} else {
			w.counts.missed[missedBegin]++
		}
	}
	f.idle = time.Time{}
	if known || len(f.users) < maxUsers {
		f.users[m.pid] = m.at > 0
	}
}

// sweep releases files that nobody has used for some time. Processes may use a file without having been seen to map it, for they are forked; so
// when all that are known are gone, everybody is asked.
func (w *Watcher) sweep() {
	now := time.Now()
	if !w.forgetUsers(now) {
		return
	}
	w.tryScan()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, f := range w.files {
		switch {
		case !f.unused():
			f.idle = time.Time{}
		case f.idle.IsZero():
			f.idle = now
		case now.Sub(f.idle) >= keepFor:
			w.release(id)
		}
	}
}

// forgetUsers takes processes that are gone off all files, and reports whether that leaves a file without any, or one was without for long enough.
func (w *Watcher) forgetUsers(now time.Time) (ask bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.files {
		for pid := range f.users {
			if _, err := os.Stat(procPath(w.options.Proc, pid, "")); err != nil {
				delete(f.users, pid)
			}
		}
		if f.unused() && (f.idle.IsZero() || now.Sub(f.idle) >= keepFor) {
			ask = true
		}
	}
	return ask
}

// releaseIdle makes room: of the files of one kind that were without users when that was last looked at, the one that was so for longest goes.
// It reports whether there was one.
func (w *Watcher) releaseIdle(kind func(*watched) bool) bool {
	var oldest fileID
	var since time.Time
	for id, f := range w.files {
		if f.unused() && !f.idle.IsZero() && kind(f) && (since.IsZero() || f.idle.Before(since)) {
			oldest, since = id, f.idle
		}
	}
	if since.IsZero() {
		return false
	}
	w.release(oldest)
	return true
}

// release takes the probes out of a file and forgets it.
func (w *Watcher) release(id fileID) {
	f := w.files[id]
	delete(w.files, id)
	for key, s := range w.seen {
		if s.file == f {
			delete(w.seen, key)
		}
	}
	if err := closeAll(f.attached); err != nil {
		w.log.Warn("cannot end looking into TLS", "path", f.path, "error", err)
	}
	w.log.Debug("looking into TLS ends", "path", f.path)
}
