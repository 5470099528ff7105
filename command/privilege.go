package command

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// capability is one right of a process (capabilities(7)) and what vetch does with it.
type capability struct {
	bit      uint
	name     string
	required bool
	cost     string // what is lost without it
}

// capabilities lists those that matter; the first two are needed, or CAP_SYS_ADMIN in their place.
func capabilities() []capability {
	return []capability{
		{unix.CAP_BPF, "CAP_BPF", true, "nothing can be watched"},
		{unix.CAP_PERFMON, "CAP_PERFMON", true, "nothing can be watched"},
		{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", false, "addresses behind NAT are not resolved: an edge through it may be seen twice"},
		{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", false, "processes of other users, and what listens in other network namespaces, have no names"},
		{unix.CAP_SETUID, "CAP_SETUID", false, "JVMs of other users cannot be looked into (agent.tls.java)"},
		{unix.CAP_SETGID, "CAP_SETGID", false, "JVMs of other users cannot be looked into (agent.tls.java)"},
		{unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", false, "programs in private folders have no names"},
	}
}

// effective is the set of rights that this process has now, bit by bit.
func effective() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("read own capabilities: %w", err)
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective), nil
}

func holds(set uint64, bit uint) bool {
	isAdmin := set&(1<<unix.CAP_SYS_ADMIN) != 0
	covered := bit == unix.CAP_BPF || bit == unix.CAP_PERFMON // capabilities(7): both were split off from CAP_SYS_ADMIN
	return set&(1<<bit) != 0 || isAdmin && covered
}

// canLoad reports whether set is enough to load kernel programs.
func canLoad(set uint64) bool { return holds(set, unix.CAP_BPF) && holds(set, unix.CAP_PERFMON) }

// needPrivilege is the error of a process that cannot load kernel programs; name is the command that wants to.
func needPrivilege(name string) error {
	set, err := effective()
	if err != nil {
		return err
	}
	if canLoad(set) {
		return nil
	}
	return missing(fmt.Errorf("%s must be root, or have CAP_BPF and CAP_PERFMON, to load its kernel programs: start it with sudo", name))
}
