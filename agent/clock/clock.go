// Package clock reads the clock of the kernel programs.
package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Monotonic is how long the machine has run, without the time that it slept: CLOCK_MONOTONIC, the kernel programs' bpf_ktime_get_ns.
func Monotonic() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // there is no kernel that has it not
	}
	return time.Duration(now.Nano())
}
