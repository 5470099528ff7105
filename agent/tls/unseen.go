package tls

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxUnseen    = 1024             // processes remembered
	unseenFor    = 10 * time.Minute // after it was last told of
	closeAgain   = 10 * time.Minute // until the same program is looked at closely again
	maxCloseLook = 512              // files of one process
)

// unseen are processes that do TLS which is not seen: by a library of an unusual name, or one that cannot be probed.
type unseen struct {
	told   map[uint32]time.Time // by process
	closer map[programID]time.Time
	queue  []uint32 // to be looked at
}

type programID struct{ device, inode uint64 }

func newUnseen() unseen {
	return unseen{told: map[uint32]time.Time{}, closer: map[programID]time.Time{}}
}

// number is how many there are.
func (u *unseen) number(now time.Time) (n int) {
	for _, at := range u.told {
		if now.Sub(at) < unseenFor {
			n++
		}
	}
	return n
}

// learn takes those that the kernel tells of now.
func (u *unseen) learn(pids []uint32, now time.Time) {
	for pid, at := range u.told {
		if now.Sub(at) >= unseenFor {
			delete(u.told, pid)
		}
	}
	for _, pid := range pids {
		if _, known := u.told[pid]; known || len(u.told) < maxUnseen {
			u.told[pid] = now
		}
		if len(u.queue) < maxUnseen {
			u.queue = append(u.queue, pid)
		}
	}
}

// next is a process whose program was not looked at lately; 0 when there is none.
func (u *unseen) next(proc string, now time.Time) uint32 {
	for len(u.queue) > 0 {
		pid := u.queue[0]
		u.queue = u.queue[1:]
		var st unix.Stat_t
		if unix.Stat(procPath(proc, pid, "exe"), &st) != nil {
			continue
		}
		id := programID{st.Dev, st.Ino}
		if at, ok := u.closer[id]; ok && now.Sub(at) < closeAgain {
			continue
		}
		if len(u.closer) >= maxUnseen {
			clear(u.closer)
		}
		u.closer[id] = now
		return pid
	}
	return 0
}

// lookCloser looks at all that one process has mapped which does TLS that is not seen, whatever its libraries are called.
func (w *Watcher) lookCloser() {
	if w.options.Unseen == nil {
		return
	}
	now := time.Now()
	w.mu.Lock()
	w.unseen.learn(w.options.Unseen(), now)
	pid := w.unseen.next(w.options.Proc, now)
	w.mu.Unlock()
	if pid == 0 || int(pid) == os.Getpid() {
		return
	}
	for i, m := range mappedBy(w.options.Proc, pid) {
		if i >= maxCloseLook {
			break
		}
		w.mu.Lock()
		w.mapped(m, true)
		w.mu.Unlock()
	}
}
