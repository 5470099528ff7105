package tracer

import (
	"time"

	"github.com/vetch-dev/vetch/agent/probe"
)

const (
	maxProcesses  = 65_536
	rememberOwner = 10 * time.Minute // a process that no row is of
)

// owner is who has some of the rows.
type owner struct {
	probe.Owner
	conns    int
	used     time.Time
	reported bool
}

// sighting is who a process was found to be.
type sighting struct {
	owner   *owner
	life    string
	checked bool // in this answer
	gone    bool
	used    time.Time
}

// owners finds who processes are, once while they live.
type owners struct {
	proc      procfs
	processes map[uint32]*sighting
	by        map[probe.OwnerID]*owner
	gone      []probe.OwnerID
}

func newOwners(proc procfs) owners {
	return owners{proc: proc, processes: make(map[uint32]*sighting), by: make(map[probe.OwnerID]*owner)}
}

// begin says that an answer begins: processes may have changed.
func (o *owners) begin() {
	for _, s := range o.processes {
		s.checked = false
	}
}

// of finds who a process is; nil where it cannot be looked at and was not before. netns is where its row was seen, 0 where that is not known.
func (o *owners) of(pid, netns uint32) *owner {
	s := o.processes[pid]
	if s == nil {
		if len(o.processes) >= maxProcesses {
			return nil
		}
		s = &sighting{}
		o.processes[pid] = s
	}
	o.check(pid, s)
	if s.owner == nil {
		return nil
	}
	if netns == 0 || netns == s.owner.NetNS {
		return s.owner
	}
	moved := s.owner.Owner // a process may have sockets of another namespace than its own
	moved.NetNS = netns
	moved.ID = max(moved.ID^probe.OwnerID(netns)<<32, 1)
	return o.intern(moved)
}

// check looks at a process where it is not known, or may be another by now.
func (o *owners) check(pid uint32, s *sighting) {
	if s.checked {
		return
	}
	s.checked = true
	life, exe, err := o.proc.life(pid)
	if s.gone = err != nil; s.gone {
		return // who it was is who the rows are of that end now
	}
	if s.owner != nil && s.life == life {
		return
	}
	found, err := o.proc.owner(pid, exe)
	if err != nil {
		return
	}
	s.owner, s.life = o.intern(found), life
}

// intern is nil where there are too many.
func (o *owners) intern(found probe.Owner) *owner {
	known := o.by[found.ID]
	if known == nil && len(o.by) < maxProcesses {
		known = &owner{Owner: found}
		o.by[found.ID] = known
	}
	return known
}

// report adds who is new and who is gone.
func (o *owners) report(s *probe.Snapshot) {
	for _, one := range o.by {
		if !one.reported && one.conns > 0 {
			one.reported = true
			s.Owners = append(s.Owners, one.Owner)
		}
	}
	s.Gone, o.gone = o.gone, nil
}

// sweep forgets processes and owners that have no rows any more.
func (o *owners) sweep(now time.Time) {
	for _, one := range o.by {
		if one.conns > 0 {
			one.used = now
		}
	}
	for pid, s := range o.processes {
		if s.checked && !s.gone || s.used.IsZero() {
			s.used = now
		}
		if s.owner == nil || now.Sub(s.used) >= rememberOwner {
			delete(o.processes, pid)
		}
	}
	for id, one := range o.by {
		if one.conns > 0 || now.Sub(one.used) < rememberOwner {
			continue
		}
		delete(o.by, id)
		if one.reported {
			o.gone = append(o.gone, id)
		}
	}
}
