package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// ioPrograms are the kernel programs of vetch that run at every read and write of a socket.
var ioPrograms = map[string]bool{"sock_sent": true, "syscall_end": true, "syscall_end_old": true}

// probing counts the vetch processes of this machine that trace sockets now, ours and others'.
func probing() int {
	n := 0
	for id, err := ebpf.ProgramGetNextID(0); err == nil; id, err = ebpf.ProgramGetNextID(id) {
		program, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue // it is gone already
		}
		if info, err := program.Info(); err == nil && ioPrograms[info.Name] {
			n++
		}
		program.Close()
	}
	return n
}

// alone waits a little until no other vetch traces sockets, for its cost would be added to ours and to what we compare with.
func alone(ctx context.Context, ours int) error {
	return until(ctx, 5*time.Second, func() error {
		if n := probing(); n != ours {
			return fmt.Errorf("%d other vetch processes trace sockets on this machine", n-ours)
		}
		return nil
	})
}
