package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// agentRights are the capabilities of the chart's agents, and no others.
var agentRights = map[string]int{
	"BPF": unix.CAP_BPF, "PERFMON": unix.CAP_PERFMON, "NET_ADMIN": unix.CAP_NET_ADMIN, "SYS_PTRACE": unix.CAP_SYS_PTRACE,
	"SYS_RESOURCE": unix.CAP_SYS_RESOURCE, "DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH,
}

// possibleRights leaves out what this machine itself may not do: a sandbox often lacks SYS_RESOURCE, which kernels before 5.11 alone need.
func possibleRights() []string {
	var list []string
	for name, bit := range agentRights {
		if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(bit), 0, 0, 0); err == nil && has == 1 {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// holdFewRights reads the rights of the agents' processes: those of the chart, and the others have none.
func holdFewRights(ctx context.Context, t *trial) error {
	var agent uint64
	for _, name := range possibleRights() {
		agent |= 1 << agentRights[name]
	}
	pods, err := t.pods(ctx, "vetch", "app.kubernetes.io/instance="+releaseName)
	if err != nil {
		return err
	}
	var wrong []error
	seen := map[string]int{}
	for _, p := range pods {
		part := p.Metadata.Labels["app.kubernetes.io/component"]
		want := uint64(0)
		if part == "agent" {
			want = agent
		}
		processes, err := t.processesOf(p.containerID())
		if err != nil {
			return err
		}
		for _, pid := range processes {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err != nil {
				return fmt.Errorf("read rights: %w", err)
			}
			for _, set := range []string{"CapEff", "CapPrm", "CapBnd"} {
				_, rest, _ := strings.Cut(string(status), set+":\t")
				text, _, _ := strings.Cut(rest, "\n")
				if have, err := strconv.ParseUint(text, 16, 64); err != nil || have != want {
					wrong = append(wrong, fmt.Errorf("%s: %s is %s, not %016x", p.Metadata.Name, set, text, want))
				}
			}
			seen[part]++
		}
	}
	for part, n := range map[string]int{"agent": 2, "watcher": 2, "server": 1} {
		if seen[part] != n {
			wrong = append(wrong, fmt.Errorf("%d processes of the %s, not %d", seen[part], part, n))
		}
	}
	return errors.Join(wrong...)
}
